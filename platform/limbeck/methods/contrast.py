"""Students that must find their teacher's view of a text among the views of other texts: what cilda and codir share."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.errors import Problem
from limbeck.methods.losses import mean_pool, widened
from limbeck.noise import derived_seed

Layers = tuple[int, ...]
"""Numbers of layers, counted from 1."""
Pooling = Literal["mean", "cls"]
OtherView = Literal["positive", "ignored", "negative"]


class Layered(Protocol):
    """A network whose hidden states are compared: a classifier or a masked LM."""

    @property
    def embedding(self) -> nn.Embedding: ...

    @property
    def width(self) -> int: ...


def even_layers(count: int, available: int) -> Layers:
    """`count` of `available` layers, evenly spaced, the last included."""
    if not 1 <= count <= available:
        raise ValueError(f"{count} layers cannot be chosen from {available}")
    return tuple((i + 1) * available // count for i in range(count))


def beyond(where: str, wanted: Sequence[int], available: int, whose: str) -> list[Problem]:
    """The problem that a network has no such layer, if it has none."""
    if not wanted or max(wanted) <= available:
        return []
    return [Problem(where, f"{max(wanted)}, but the {whose} has {available} layers; choose from 1 to {available}")]


def read_layers(hidden: Sequence[Tensor] | None, layers: Layers, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, k·d): the k layers' mean over real tokens, or their first token, side by side."""
    assert hidden is not None, "asked for without hidden=True"
    chosen = [hidden[layer] for layer in layers]
    if pooling == "cls":
        return torch.cat([widened(states[:, 0]) for states in chosen], 1)
    return torch.cat([mean_pool(states, attention_mask) for states in chosen], 1)


def full_precision(x: Tensor) -> torch.autocast:
    """Autocast off where x is: half precision would round cosines by more than a temperature of 0.07 bears."""
    return torch.autocast(x.device.type, enabled=False)


class Projection(nn.Module):
    """(B, in) → (B, out) of unit length: normalise(A x). Without a bias, which would be a way to one answer for all."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=draw) / math.sqrt(inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise A x."""
        with full_precision(x):
            return F.normalize(F.linear(widened(x), self.weight), dim=-1)


class Representations(nn.Module):
    """R_S and R_T: chosen layers, pooled, side by side, projected to one width, of unit length."""

    def __init__(
        self,
        networks: tuple[Layered, Layered],
        layers: tuple[Layers, Layers],
        pooling: Pooling,
        width: int,
        seed: int,
    ) -> None:
        """`networks` are student and teacher, `layers` those that are read of each."""
        super().__init__()
        self.layers, self.pooling = layers, pooling
        self.projections = nn.ModuleList(
            Projection(len(chosen) * network.width, width, derived_seed(seed, "projection", i))
            for i, (chosen, network) in enumerate(zip(layers, networks, strict=True))
        ).to(networks[0].embedding.weight.device)

    def student(self, hidden: Sequence[Tensor] | None, attention_mask: Tensor) -> Tensor:
        """(B, width) of the student's hidden states."""
        return self._project(0, hidden, attention_mask)

    def teacher(self, hidden: Sequence[Tensor] | None, attention_mask: Tensor) -> Tensor:
        """(B, width) of the teacher's hidden states."""
        return self._project(1, hidden, attention_mask)

    def hold_teacher(self) -> None:
        """Keep A_T as it is: for losses that a constant R_S = R_T would satisfy."""
        self.projections[1].requires_grad_(False)

    def _project(self, which: int, hidden: Sequence[Tensor] | None, attention_mask: Tensor) -> Tensor:
        pooled = read_layers(hidden, self.layers[which], attention_mask, self.pooling)
        projected: Tensor = self.projections[which](pooled)
        return projected


def cosines(anchors: Tensor, others: Tensor) -> Tensor:
    """(B, K) cosines of (B, p) with (B, K, p), all of unit length."""
    with full_precision(anchors):
        return torch.einsum("bp,bkp->bk", anchors, others)


def infonce(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Mean over B of −log e^{p/τ} / (e^{p/τ} + Σ_k e^{n_k/τ}); cosines p (B,) and n (B, K).

    *Source* van den Oord et al. 2018, arXiv 1807.03748, equation 4.
    """
    scores = torch.cat([positive.unsqueeze(1), negatives], 1) / temperature
    return (scores.logsumexp(1) - scores[:, 0]).mean()


def infonce_in_pool(anchors: Tensor, own: Tensor, other: Tensor, temperature: float, view: OtherView) -> Tensor:
    """Mean over B of −log e^{⟨a_i, t_i⟩/τ} / Σ_{t in pool} e^{⟨a_i, t⟩/τ}, pool = own ∪ other, of unit length, (B, p).

    own[i] is the teacher on the anchor's own text, other[i] on the other view of the same example. `view` says what
    other[i] is to anchor i: one more answer that must be told apart, left out of the pool, or as right as own[i] (then
    the numerator is the geometric mean of both).

    *Source* CILDA, arXiv 2204.07674; what the other view is to an anchor is our choice.
    """
    with full_precision(anchors):
        to_own, to_other = anchors @ own.T / temperature, anchors @ other.T / temperature
    positive = to_own.diagonal()
    if view == "positive":
        positive = (positive + to_other.diagonal()) / 2
    if view == "ignored":
        same = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
        to_other = to_other.masked_fill(same, -math.inf)
    return (torch.cat([to_own, to_other], 1).logsumexp(1) - positive).mean()


def infonce_in_batch(anchors: Tensor, own: Tensor, same: Tensor, temperature: float) -> Tensor:
    """Mean over B of −log e^{⟨a_i, o_i⟩/τ} / Σ_j e^{⟨a_i, o_j⟩/τ} for (B, p) of unit length; j runs over the batch.

    (B, B) `same` is True where line j has the text of line i: as j ≠ i it would be told apart from itself, and is left
    out.
    """
    with full_precision(anchors):
        scores = anchors @ own.T / temperature
    twins = same & ~torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
    return (scores.masked_fill(twins, -math.inf).logsumexp(1) - scores.diagonal()).mean()


def nce(log_p: Tensor, rows: int) -> Tensor:
    """−(1/B) Σ_i [log P_0/(P_0 + K/N) + Σ_k log (K/N)/(P_k + K/N)]: tell the own row from K rows drawn uniformly of N.

    log_p (B, 1 + K): log P = ⟨·,·⟩/τ − log Z, the own row first.

    *Source* Tian et al. 2020, arXiv 1910.10699, equation 18; intersun/CoDIR @5b2abd4, `crd/criterion.py`.
    *Differs from the source* 1. In logarithms, which needs no 1e-7 in the denominators.
    """
    noise = math.log((log_p.shape[1] - 1) / rows)
    return (F.softplus(noise - log_p[:, 0]) + F.softplus(log_p[:, 1:] - noise).sum(1)).mean()


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over B of ‖r_S − r_T‖² for (B, p) of unit length, 2 − 2·cosine: what contrast is compared with."""
    return (student - teacher).square().sum(1).mean()

"""A classifier that can be worked by hand, and its formulas in float64 NumPy.

logits = Σ_p w_p·e_p / Σ_p w_p · W over the real tokens, w_p = 1 + p/10, so that order counts.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import toys
from limbeck.encoding import Batch
from limbeck.methods.base import Parts
from limbeck.models import Output

WIDTH = 5


class Linear(nn.Module):
    """A weighted mean over real tokens, times a matrix. Counts how often it was asked."""

    layers = 1
    width = WIDTH
    max_tokens = 512

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(toys.WORDS, WIDTH, _weight=torch.randn(toys.WORDS, WIDTH, generator=draw))
        self.matrix = nn.Parameter(2 * torch.randn(WIDTH, max(1, classes), generator=draw))
        self.calls = 0

    def forward(
        self,
        *,
        attention_mask: Tensor,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        hidden: bool = False,
    ) -> Output:
        self.calls += 1
        embeds = inputs_embeds if input_ids is None else self.embedding(input_ids)
        weights = (attention_mask * (1 + torch.arange(attention_mask.shape[1]) / 10)).unsqueeze(-1)
        logits = (embeds * weights).sum(1) / weights.sum(1) @ self.matrix
        return Output(logits, (embeds, embeds) if hidden else None)


def parts(classes: int = 3, **changes: Any) -> Parts:
    """A linear student and a linear teacher over the toy vocabulary."""
    return replace(toys.parts(classes), student=Linear(classes, 2), teacher=Linear(classes, 1), **changes)


class Numbers:
    """One linear classifier in NumPy."""

    def __init__(self, network: Any) -> None:
        self.table, self.matrix = (x.detach().double().numpy() for x in (network.embedding.weight, network.matrix))

    def embeds(self, ids: Any) -> np.ndarray:
        return self.table[np.asarray(ids)]

    def logits(self, embeds: np.ndarray, mask: Any) -> np.ndarray:
        return (embeds * weights(mask)[..., None]).sum(1) @ self.matrix

    def of(self, ids: Any, mask: Any) -> np.ndarray:
        return self.logits(self.embeds(ids), mask)

    def slope(self, towards: np.ndarray, mask: Any, allowed: Any) -> np.ndarray:
        """(B, n, d) gradient in the embeddings of what has the gradient `towards` (B, C) in the logits."""
        return (towards @ self.matrix.T)[:, None, :] * (weights(mask) * np.asarray(allowed))[..., None]


def weights(mask: Any) -> np.ndarray:
    """(B, n) w_p / Σ w_p on real tokens."""
    out = np.asarray(mask, float) * (1 + np.arange(np.shape(mask)[1]) / 10)
    return out / out.sum(1, keepdims=True)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(teacher: np.ndarray, student: np.ndarray, tau: float = 1.0) -> np.ndarray:
    """(B,) τ²·KL(p_T‖p_S)."""
    p, q = softmax(np.asarray(teacher, float) / tau), softmax(np.asarray(student, float) / tau)
    return tau**2 * (p * (np.log(p) - np.log(q))).sum(-1)


def cross_entropy(logits: np.ndarray, labels: Any) -> np.ndarray:
    """(B,) −log p_S(y)."""
    return -np.log(softmax(logits)[np.arange(len(logits)), np.asarray(labels)])


def kd(batch: Batch, logits: np.ndarray, share: float, tau: float) -> float:
    """(1−a)·CE + a·τ²·KL on the clean batch."""
    soft = kl(batch.teacher_logits.numpy(), logits, tau).mean()
    return float((1 - share) * cross_entropy(logits, batch.labels).mean() + share * soft)

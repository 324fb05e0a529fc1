"""Mixup in embedding space: the student learns between two inputs what the teacher says there.

e′ = λ·W[x_i] + (1−λ)·W[x_j], λ ~ Beta(α, α);   L = (1−a)·CE + a·τ²·KL(q‖S(e)) + w·τ²·KL(q′‖S(e′))
q′ = p_T of the same mix in the teacher's embeddings (`target: teacher`), or λ·q_i + (1−λ)·q_j (`target: labels`)

*Source* Zhang et al. 2018, arXiv 1710.09412; on word embeddings Guo et al. 2019, arXiv 1905.08941; distilled by
Liang et al. 2021 (MixKD), arXiv 2011.00593.
*Differs from the source*: see docs/methods/mixup.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from scipy.special import betaincinv
from torch import Tensor

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.perturbation import words
from limbeck.models import Classifier
from limbeck.noise import RowNoise


class MixupConfig(MethodConfig):
    """How strongly to mix, and who labels the mix."""

    name: Literal["mixup"] = "mixup"
    alpha: PositiveFloat = 0.4
    """Of Beta(α, α): small values keep mixes close to one of their rows."""
    target: Literal["teacher", "labels"] = "teacher"
    """Ask the teacher about the mix, or mix its answers to both rows."""
    weight: NonNegativeFloat = 1.0
    """w of the term between rows."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the clean soft labels; the gold labels have the rest."""
    temperature: PositiveFloat = 2.0


@dataclass(frozen=True)
class _Mix:
    """What becomes of a batch between its rows."""

    batch: Batch
    """The batch, with the mask and the segments of whichever of both rows has the larger share."""
    share: Tensor
    """(B, 1) λ of the row itself."""
    partner: Tensor
    """(B,) the other row."""
    weight: Tensor
    """(B, n, 1) λ where both rows have a token; 1 or 0 where only one of them has."""


class Mixup:
    """Kd on the rows and on points between them."""

    Config: ClassVar = MixupConfig

    def __init__(self, config: MixupConfig, parts: Parts) -> None:
        self._config = config
        self._student, self._teacher = parts.student, parts.teacher
        self._regression = parts.task.regression

    @staticmethod
    def refuses(config: MixupConfig, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._student)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def _mix(self, batch: Batch, noise: RowNoise) -> _Mix:
        uniform = noise.uniform(1).double().numpy()
        alpha = self._config.alpha
        share = torch.from_numpy(betaincinv(alpha, alpha, uniform)).float().to(batch.input_ids.device)
        return mix(batch, share)

    def _logits(self, network: Classifier, made: _Mix) -> Tensor:
        out = network(
            inputs_embeds=between(words(network, made.batch), made.weight, made.partner),
            attention_mask=made.batch.attention_mask,
            token_type_ids=made.batch.token_type_ids,
        )
        return out.logits.float()

    @torch.no_grad()
    def _target(self, batch: Batch, made: _Mix) -> Tensor:
        if self._config.target == "teacher":
            return self._logits(self._teacher, made)
        q = batch.teacher_logits
        if self._regression:
            return between(q, made.share, made.partner)
        tau = self._config.temperature
        return between(torch.softmax(q / tau, -1), made.share, made.partner).clamp(min=1e-12).log() * tau

    def _soft(self, teacher: Tensor, student: Tensor) -> Tensor:
        return divergence(teacher, student, "kl", self._config.temperature, self._regression)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Three terms: gold labels, clean soft labels, soft labels between rows."""
        config = self._config
        made = self._mix(batch, noise)
        out = self._student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        gold, soft = supervised(out.logits, batch.labels), self._soft(batch.teacher_logits, out.logits)
        mixed = self._soft(self._target(batch, made), self._logits(self._student, made))
        total = (1 - config.distillation) * gold + config.distillation * soft + config.weight * mixed
        terms = {"cross_entropy": gold, "distillation": soft, "mixed": mixed}
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The mixes, shown as the row that has the larger share."""
        made = self._mix(batch, noise)
        tokens = torch.where((made.share >= 0.5) | ~batch.maskable, batch.input_ids, batch.input_ids[made.partner])
        return Invented(
            input_ids=tokens,
            changed=batch.maskable,
            teacher_logits=self._target(batch, made),
            student_logits=self._logits(self._student, made),
        )


def mix(batch: Batch, share: Tensor) -> _Mix:
    """Mix each row with its neighbour by the (B, 1) shares.

    Beyond the end of the shorter text the longer one stands alone, and the mix ends where the row with the larger share
    ends: so λ = 1 is the row and λ = 0 its partner, exactly, and no pad's embedding is ever read.
    """
    partner = partners(len(batch)).to(share.device)
    real = batch.attention_mask.bool()
    leads, types = share >= 0.5, batch.token_type_ids
    led = replace(
        batch,
        attention_mask=torch.where(leads, batch.attention_mask, batch.attention_mask[partner]),
        token_type_ids=None if types is None else torch.where(leads, types, types[partner]),
    )
    weight = torch.where(real & real[partner], share, real.float())
    return _Mix(led, share, partner, weight.unsqueeze(-1))


def between(x: Tensor, weight: Tensor, partner: Tensor) -> Tensor:
    """w·x_i + (1 − w)·x_j for each row i and its partner j."""
    return weight * x + (1 - weight) * x[partner]


def partners(rows: int) -> Tensor:
    """(rows,) 1, 0, 3, 2, …: each row's neighbour; an odd last row stands alone."""
    return (torch.arange(rows) ^ 1).clamp(max=rows - 1)

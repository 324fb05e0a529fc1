"""Mixup in embedding space: the student learns between two inputs what the teacher says there.

e′ = λ·W[x_i] + (1−λ)·W[x_j], λ ~ Beta(α, α);   L = (1−a)·CE + a·τ²·KL(q‖S(e)) + w·τ²·KL(q′‖S(e′))
q′ = p_T of the same mix in the teacher's embeddings (`target: teacher`), or λ·q_i + (1−λ)·q_j (`target: labels`)

*Source* Zhang et al. 2018, arXiv 1710.09412; on word embeddings Guo et al. 2019, arXiv 1905.08941; distilled by
Liang et al. 2021 (MixKD), arXiv 2011.00593.
*Differs from the source* 1. Partners are neighbours in the shuffled batch (0–1, 2–3, …), so that two workers with half
the batch pair as one worker does; an odd last row is mixed with itself. 2. Gold labels are not mixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    target: Literal["teacher", "labels"] = "teacher"
    weight: NonNegativeFloat = 1.0
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: PositiveFloat = 2.0


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

    def _mix(self, batch: Batch, noise: RowNoise) -> tuple[Tensor, Tensor, Batch]:
        """Shares λ (B, 1), partners (B,), and the batch with the attention mask of both."""
        uniform = noise.uniform(1).double().cpu().numpy()
        alpha = self._config.alpha
        share = torch.from_numpy(betaincinv(alpha, alpha, uniform)).float().to(batch.input_ids.device)
        partner = partners(len(batch)).to(batch.input_ids.device)
        both = torch.maximum(batch.attention_mask, batch.attention_mask[partner])
        return share, partner, replace(batch, attention_mask=both)

    def _logits(self, network: Classifier, batch: Batch, share: Tensor, partner: Tensor) -> Tensor:
        clean = words(network, batch)
        mixed = share.unsqueeze(-1) * clean + (1 - share.unsqueeze(-1)) * clean[partner]
        out = network(inputs_embeds=mixed, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids)
        return out.logits.float()

    @torch.no_grad()
    def _target(self, batch: Batch, share: Tensor, partner: Tensor) -> Tensor:
        if self._config.target == "teacher":
            return self._logits(self._teacher, batch, share, partner)
        q = batch.teacher_logits
        if self._regression:
            return share * q + (1 - share) * q[partner]
        soft = torch.softmax(q / self._config.temperature, -1)
        mixed = share * soft + (1 - share) * soft[partner]
        return mixed.clamp(min=1e-12).log() * self._config.temperature

    def _soft(self, teacher: Tensor, student: Tensor) -> Tensor:
        return divergence(teacher, student, "kl", self._config.temperature, self._regression)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Three terms: gold labels, clean soft labels, soft labels between rows."""
        config = self._config
        share, partner, wide = self._mix(batch, noise)
        out = self._student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        gold, soft = supervised(out.logits, batch.labels), self._soft(batch.teacher_logits, out.logits)
        mixed = self._soft(self._target(wide, share, partner), self._logits(self._student, wide, share, partner))
        total = (1 - config.distillation) * gold + config.distillation * soft + config.weight * mixed
        terms = {"cross_entropy": gold, "distillation": soft, "mixed": mixed}
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The mixes, shown as the row that has the larger share."""
        share, partner, wide = self._mix(batch, noise)
        tokens = torch.where((share >= 0.5) | ~batch.maskable, batch.input_ids, batch.input_ids[partner])
        return Invented(
            input_ids=tokens,
            changed=batch.maskable,
            teacher_logits=self._target(wide, share, partner),
            student_logits=self._logits(self._student, wide, share, partner),
        )


def partners(rows: int) -> Tensor:
    """(rows,) 1, 0, 3, 2, …: each row's neighbour; an odd last row stands alone."""
    return (torch.arange(rows) ^ 1).clamp(max=rows - 1)

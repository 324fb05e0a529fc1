"""Knowledge distillation with soft labels.

(1 − a)·CE(y, S(x)) + a·τ²·KL(p_T‖p_S), p = softmax(z/τ).

*Source* Hinton, Vinyals, Dean 2015, arXiv 1503.02531, section 2.
*Differs from the source* 1. Regression distils by the squared difference of the outputs, without temperature.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.losses import divergence, supervised
from limbeck.noise import RowNoise


class KdConfig(MethodConfig):
    """Temperature and weight of the soft labels."""

    name: Literal["kd"] = "kd"
    temperature: PositiveFloat = 2.0
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the soft labels; the gold labels have the rest."""


class Kd:
    """Soft labels from the cache beside gold labels."""

    Config: ClassVar = KdConfig

    def __init__(self, config: KdConfig, parts: Parts) -> None:
        self._config = config
        self._student = parts.student
        self._regression = parts.task.regression

    @staticmethod
    def refuses(config: KdConfig, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._student)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The weighted sum of cross-entropy and distillation."""
        out = self._student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        gold = supervised(out.logits, batch.labels)
        soft = divergence(batch.teacher_logits, out.logits, "kl", self._config.temperature, self._regression)
        total = (1 - self._config.weight) * gold + self._config.weight * soft
        return StepLoss(total, {"cross_entropy": gold.detach(), "distillation": soft.detach()})

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """Nothing is invented."""
        return None

"""Plain fine-tuning: the lower bound that every distillation method must pass."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.losses import supervised
from limbeck.noise import RowNoise


class FinetuneConfig(MethodConfig):
    """Nothing to set: the gold labels are all there is."""

    name: Literal["finetune"] = "finetune"


class Finetune:
    """CE(y, S(x)); the teacher is not asked."""

    Config: ClassVar = FinetuneConfig

    def __init__(self, config: FinetuneConfig, parts: Parts) -> None:
        self._student = parts.student

    @staticmethod
    def refuses(config: FinetuneConfig, setting: Setting) -> Sequence[Problem]:
        """Unlabelled rows, which teach it nothing."""
        if not setting.unlabelled:
            return ()
        what = f"{setting.unlabelled}, but finetune learns from gold labels alone: set it to 0, or take another method"
        return (Problem("training.unlabelled", what),)

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._student)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Cross-entropy with the gold labels, or squared error for regression."""
        out = self._student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        total = supervised(out.logits, batch.labels)
        return StepLoss(total, {"cross_entropy": total.detach()})

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """Nothing is invented."""
        return None

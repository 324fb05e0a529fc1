"""Random text edits, labelled by the teacher: what augmentation costs and brings when nothing seeks disagreement.

L = (1−a)·CE + a·τ²·KL(p_T‖p_S) + w·τ²·KL(p_T(x′)‖p_S(x′)), x′ a random swap, deletion or insertion of x

*Source* EDA, Wei and Zou 2019, arXiv 1901.11196; teacher labels as in TinyBERT, Jiao et al. 2020, arXiv 1909.10351.
*Differs from the source*: see docs/methods/eda.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.edits import Edited, edit
from limbeck.methods.losses import divergence, supervised
from limbeck.models import Classifier
from limbeck.noise import RowNoise


class EdaConfig(MethodConfig):
    """How much to edit, and what the edits weigh."""

    name: Literal["eda"] = "eda"
    edit_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """α: edits a row / its tokens; at least one."""
    weight: NonNegativeFloat = 1.0
    """w of the edits' term."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the clean soft labels; the gold labels have the rest."""
    temperature: PositiveFloat = 2.0


class Eda:
    """Kd on the rows and on random edits of them."""

    Config: ClassVar = EdaConfig

    def __init__(self, config: EdaConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts

    @staticmethod
    def refuses(config: EdaConfig, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._parts.student)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def _soft(self, teacher: Tensor, student: Tensor) -> Tensor:
        return divergence(teacher, student, "kl", self._config.temperature, self._parts.task.regression)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Three terms: gold labels, clean soft labels, the teacher's labels of the edits."""
        config, parts = self._config, self._parts
        edited = edit(batch, config.edit_share, parts.vocabulary, noise, parts.max_tokens)
        with torch.no_grad():
            target = logits_on(parts.teacher, edited)
        out = parts.student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        gold, soft = supervised(out.logits, batch.labels), self._soft(batch.teacher_logits, out.logits)
        augmented = self._soft(target, logits_on(parts.student, edited))
        total = (1 - config.distillation) * gold + config.distillation * soft + config.weight * augmented
        terms = {"cross_entropy": gold, "distillation": soft, "augmented": augmented}
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The edits; tokens beyond the original's length are not shown."""
        parts = self._parts
        edited = edit(batch, self._config.edit_share, parts.vocabulary, noise, parts.max_tokens)
        return shown(edited, batch, logits_on(parts.teacher, edited), logits_on(parts.student, edited))


def logits_on(classifier: Classifier, edited: Edited) -> Tensor:
    """(B, C) float32 logits on edited inputs."""
    out = classifier(
        input_ids=edited.input_ids, attention_mask=edited.attention_mask, token_type_ids=edited.token_type_ids
    )
    return out.logits.float()


def shown(edited: Edited, batch: Batch, teacher: Tensor, student: Tensor) -> Invented:
    """Edited inputs in the form of a diagnosis: place by place beside the original, specials and pads left alone."""
    n = batch.input_ids.shape[1]
    tokens = torch.where(batch.maskable, edited.input_ids[:, :n], batch.input_ids)
    return Invented(input_ids=tokens, changed=batch.maskable, teacher_logits=teacher, student_logits=student)

"""Patient knowledge distillation: soft labels, and the teacher's first-token states layer by layer.

(1 − a)·CE + a·τ²·KL(p_T‖p_S) + b·mean (h̄_S − h̄_T)², h̄ = h/‖h‖₂ of the first token at chosen layers, the last left out

*Source* Sun, Cheng, Gan, Liu 2019, arXiv 1908.09355, section 3; intersun/PKD-for-BERT-Model-Compression @9e9e860,
`src/KD_loss.py`.
*Differs from the source*: see docs/methods/pkd.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable, as_module
from limbeck.methods.contrast import Layers, even_layers
from limbeck.methods.losses import divergence, supervised, widened
from limbeck.models import Output
from limbeck.noise import RowNoise, derived_seed

Strategy = Literal["skip", "last"]


class PkdConfig(MethodConfig):
    """Soft labels as in kd, and how patient to be."""

    name: Literal["pkd"] = "pkd"
    temperature: PositiveFloat = 5.0
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the soft labels; the gold labels have the rest."""
    patience: NonNegativeFloat = 100.0
    """b: weight of the states. Their mean runs over d numbers of a vector of length 1, so it is small."""
    layers: Strategy = "skip"
    """Which teacher layers: evenly spaced ones, or those just below the last."""
    project: bool = False
    """Learn a linear map from the student's width to the teacher's for each layer: needed where they differ."""


class Pkd:
    """Kd, and the same first-token states on the way."""

    Config: ClassVar = PkdConfig

    def __init__(self, config: PkdConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._layers = patient_layers(config.layers, parts.student.layers, parts.teacher.layers)
        widths = parts.student.width, parts.teacher.width
        if not config.project and widths[0] != widths[1]:
            raise ValueError(f"method.project: {widths[0]} is not {widths[1]}")
        maps = [_linear(*widths, derived_seed(parts.seed, "projection", i)) for i in self._layers[0] if config.project]
        self._maps = nn.ModuleList(maps).to(parts.student.embedding.weight.device)
        self._module = nn.ModuleList([as_module(parts.student), self._maps])

    @staticmethod
    def refuses(config: PkdConfig, setting: Setting) -> Sequence[Problem]:
        """A student of another width without a projection, of one layer only, or deeper than its teacher."""
        found = []
        if setting.student_width != setting.teacher_width and not config.project:
            widths = f"the student's states are {setting.student_width} wide, the teacher's {setting.teacher_width}"
            found.append(Problem("method.project", f"{widths}: set it to true to learn a map between them"))
        if not 2 <= setting.student_layers <= setting.teacher_layers:
            what = (
                f"{setting.student_layers}, but pkd compares all layers except the last one by one with the teacher's"
            )
            found.append(Problem("student.layers", f"{what}: choose from 2 to {setting.teacher_layers}"))
        return found

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student, and the projections beside it."""
        return {STUDENT: Trainable(self._module)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The weighted sum of cross-entropy, distillation and patience."""
        config, parts = self._config, self._parts
        patient = config.patience > 0
        out = parts.student(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            hidden=patient,
        )
        gold = supervised(out.logits, batch.labels)
        soft = divergence(batch.teacher_logits, out.logits, "kl", config.temperature, parts.task.regression)
        total = (1 - config.distillation) * gold + config.distillation * soft
        terms = {"cross_entropy": gold, "distillation": soft}
        if patient:
            terms["patience"] = self._patience(batch, out)
            total = total + config.patience * terms["patience"]
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    def _patience(self, batch: Batch, out: Output) -> Tensor:
        with torch.no_grad():
            teacher = self._parts.teacher(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                token_type_ids=batch.token_type_ids,
                hidden=True,
            )
        student, target = (first_tokens(o, layers) for o, layers in zip((out, teacher), self._layers, strict=True))
        if self._config.project:
            student = torch.stack([one(x) for one, x in zip(self._maps, student.unbind(1), strict=True)], 1)
        return patience_loss(student, target)

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """Nothing is invented."""
        return None


def patient_layers(strategy: Strategy, student: int, teacher: int) -> tuple[Layers, Layers]:
    """The layers 1…student − 1 of the student and the teacher layer that each is compared with.

    skip: every (teacher/student)-th; last: those just below the last. The last layers are what the soft labels teach.
    """
    if not 2 <= student <= teacher:
        raise ValueError(f"student.layers: {student} is not from 2 to {teacher}")
    ours = tuple(range(1, student))
    if strategy == "skip":
        return ours, even_layers(student, teacher)[:-1]
    return ours, tuple(teacher - student + layer for layer in ours)


def first_tokens(out: Output, layers: Layers) -> Tensor:
    """(B, k, d) states of the first token."""
    assert out.hidden is not None
    return torch.stack([out.hidden[layer][:, 0] for layer in layers], 1)


def patience_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over all numbers of (h_S/‖h_S‖₂ − h_T/‖h_T‖₂)², states (B, k, d): 2·(1 − cosine)/d, averaged."""
    return F.mse_loss(F.normalize(widened(student), dim=-1), F.normalize(widened(teacher), dim=-1))


def _linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs, bias=False)

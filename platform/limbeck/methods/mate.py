"""MATE-KD: a masked-LM generator writes inputs on which teacher and student disagree; the student learns there.

generator step: maximise D(x′) over G; the gradient passes through both T and S
student step:   w_ce·CE(y, S(x)) + w_kd·D(x) + w_adv·D(x′), x′ from the current G

*Source* Rashid, Lioutas, Rezagholizadeh 2021, arXiv 2105.05912, equations 2–7; huawei-noah/Efficient-NLP @bb44348.
*Differs from the source*: see docs/methods/mate.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.config import Config
from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable, evaluating
from limbeck.methods.losses import Divergence, divergence, supervised
from limbeck.methods.masking import (
    invent_embeds,
    invent_inputs,
    logits_of,
    logits_on_both,
    mask_id,
    mask_tokens,
    no_generator,
    read_embeds,
    show_inventions,
)
from limbeck.models import Generator, GeneratorConfig, check_same_tables
from limbeck.noise import RowNoise

GENERATOR = "generator"


class MateWeights(Config):
    """Weights of the student's loss; the paper gives each a third."""

    cross_entropy: NonNegativeFloat = 1 / 3
    distillation: NonNegativeFloat = 1 / 3
    adversarial: NonNegativeFloat = 1 / 3


class AdversaryConfig(GeneratorConfig):
    """The generator and how it is trained against the student."""

    learning_rate: PositiveFloat = 5e-7
    weight_decay: NonNegativeFloat = 0.01
    clip_norm: PositiveFloat = 5.0
    temperature: PositiveFloat = 1.0
    """τ_G of the Gumbel softmax."""
    frozen: bool = False
    """Mask and reconstruct only: no adversary, every step is the student's."""


class MateConfig(MethodConfig):
    """The published settings."""

    name: Literal["mate"] = "mate"
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    generator_steps: PositiveInt = 10
    """Generator steps in a row, once a cycle."""
    student_steps: PositiveInt = 100
    """Student steps that follow them."""
    divergence: Divergence = "kl"
    temperature: PositiveFloat = 1.0
    """τ of the divergence D."""
    weights: MateWeights = MateWeights()
    generator: AdversaryConfig = AdversaryConfig()


class Mate:
    """A generator that seeks disagreement, and a student that learns where it is found."""

    Config: ClassVar = MateConfig

    def __init__(self, config: MateConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._generator = new_adversary(config.generator, parts)
        self._mask = mask_id(parts)

    @staticmethod
    def refuses(config: MateConfig, setting: Setting) -> Sequence[Problem]:
        """A vocabulary without a mask token."""
        return no_generator(setting)

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student, and the generator unless it is frozen."""
        return {STUDENT: Trainable(self._parts.student), **adversary(self._config.generator, self._generator)}

    def phase(self, step: int) -> str:
        """`generator_steps` for the generator, then `student_steps` for the student, over and over."""
        config = self._config
        return STUDENT if config.generator.frozen else turn(step, config.generator_steps, config.student_steps)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """−D(x′) for the generator; the weighted sum of three terms for the student."""
        return self._student_loss(batch, noise) if phase == STUDENT else self._generator_loss(batch, noise)

    def _divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        config = self._config
        return divergence(teacher, student, config.divergence, config.temperature, self._parts.task.regression)

    def _student_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, weights = self._parts, self._config.weights
        invented, _ = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, noise)
        with torch.no_grad():
            teacher = logits_of(parts.teacher, batch, invented)
        clean, other = logits_on_both(parts.student, batch, invented)
        terms = {
            "cross_entropy": supervised(clean, batch.labels),
            "distillation": self._divergence(batch.teacher_logits, clean),
            "adversarial": self._divergence(teacher, other),
        }
        total = sum((getattr(weights, name) * term for name, term in terms.items()), clean.new_zeros(()))
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    def _generator_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, settings = self._parts, self._config.generator
        masked = mask_tokens(batch, self._config.mask_rate, self._mask, noise)
        networks = (parts.teacher, parts.student)
        embeds = invent_embeds(self._generator, networks, batch, masked, settings.temperature, noise)
        with evaluating(parts.student):
            teacher, student = (
                read_embeds(network, batch, words).logits for network, words in zip(networks, embeds, strict=True)
            )
        reward = self._divergence(teacher, student)
        return StepLoss(-reward, {"generator_reward": reward.detach()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """What the generator would write now."""
        made = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, noise)
        return show_inventions(made, self._parts.new_generator(self._config.generator), batch, self._parts)


def new_adversary(settings: AdversaryConfig, parts: Parts) -> Generator:
    """A fitted generator. UserError where it is to learn through embedding tables of other sizes than its own."""
    generator = parts.new_generator(settings)
    if not settings.frozen:
        tables = {"teacher": parts.teacher.embedding, "student": parts.student.embedding}
        check_same_tables({**tables, "method.generator": generator.embedding})
    return generator


def adversary(settings: AdversaryConfig, generator: Generator) -> dict[str, Trainable]:
    """The generator's entry in `trainable`; none when it is frozen."""
    if settings.frozen:
        return {}
    return {GENERATOR: Trainable(generator, settings.learning_rate, settings.weight_decay, settings.clip_norm)}


def turn(step: int, generator_steps: int, student_steps: int) -> str:
    """Whose step it is: `generator_steps` in a row, then `student_steps`, over and over."""
    return GENERATOR if step % (generator_steps + student_steps) < generator_steps else STUDENT

"""Mask and reconstruct: MATE-KD with a generator that never moves. What the adversary itself adds is mate minus this.

w_ce·CE(y, S(x)) + w_kd·D(x) + w_aug·D(x′), x′ from the generator as first fitted.

*Source* the ablation of Rashid et al. 2021, arXiv 2105.05912, table 6.
*Differs from the source* 1. Masked positions are sampled from the generator rather than taken at its maximum.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.losses import Divergence
from limbeck.methods.masking import no_generator
from limbeck.methods.mate import AdversaryConfig, Mate, MateConfig, MateWeights
from limbeck.models import GeneratorConfig
from limbeck.noise import RowNoise


class RandomMaskConfig(MethodConfig):
    """MATE-KD's settings less its schedule."""

    name: Literal["random_mask"] = "random_mask"
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    divergence: Divergence = "kl"
    temperature: PositiveFloat = 1.0
    weights: MateWeights = MateWeights()
    generator: GeneratorConfig = GeneratorConfig()


class RandomMask:
    """MATE-KD's student steps, with the generator as first fitted."""

    Config: ClassVar = RandomMaskConfig

    def __init__(self, config: RandomMaskConfig, parts: Parts) -> None:
        self._mate = Mate(
            MateConfig(
                mask_rate=config.mask_rate,
                divergence=config.divergence,
                temperature=config.temperature,
                weights=config.weights,
                generator=AdversaryConfig(**config.generator.model_dump(), frozen=True),
            ),
            parts,
        )

    @staticmethod
    def refuses(config: RandomMaskConfig, setting: Setting) -> Sequence[Problem]:
        """A vocabulary without a mask token."""
        return no_generator(setting)

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return self._mate.trainable

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return self._mate.phase(step)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The student's loss of MATE-KD."""
        return self._mate.loss(batch, phase, noise)

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """What the generator writes."""
        return self._mate.invent(batch, noise)

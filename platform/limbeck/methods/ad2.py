"""AD²: noise on the student's word embeddings, where the student strays furthest from the teacher's clean answer.

e = W_S[x];  q = p_T(x)        min_S  (1−a)·CE + a·τ²·KL(q‖S(e)) + λ·τ²·KL(q‖S(e+δ*))
δ* by K steps of projected ascent, per example, zero on pads and specials:  δ ← Π_ε(δ + η·g/‖g‖)

The teacher labels the clean text, so its answers come from the cache.

*Source* Zhang, Naresh, He, AAAI 2022 (no released code): abstract and figure caption.
*Differs from the source*: see docs/methods/ad2.md, which numbers every choice the paper leaves open.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable, evaluating
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.perturbation import (
    TINY,
    Ball,
    Norm,
    example_size,
    gradient_at,
    nearest_tokens,
    scaled,
    start,
    step_uphill,
    words,
)
from limbeck.noise import RowNoise


class Ad2Config(MethodConfig):
    """Every number is our choice: the paper prints none of them in public."""

    name: Literal["ad2"] = "ad2"
    steps: PositiveInt = 1
    """K: ascent steps."""
    step_size: PositiveFloat = 0.5
    """η: size of a step over the whole example, in the measure of `norm`. One word's embedding is about 1 long."""
    norm: Norm = "l2"
    """l2: Frobenius norm of an example's perturbation; linf: its largest number."""
    radius: NonNegativeFloat = 0.0
    """ε: largest size of a perturbation; 0 sets no bound."""
    initial_size: NonNegativeFloat = 0.01
    """Of the random start, in the measure of `norm`. Where teacher and student agree there is no slope at 0."""
    adversary: Literal["teacher", "gold", "random"] = "teacher"
    """What the ascent climbs: divergence from the teacher, or the gold label's loss. `random` climbs as `teacher` does,
    then replaces the perturbation by noise of the same size: the control for its direction."""
    average_steps: bool = False
    """Learn at every point of the ascent (as FreeLB does) and not only at its end."""
    weight: NonNegativeFloat = 1.0
    """λ of the perturbed term."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the clean soft labels; the gold labels have the rest."""
    temperature: PositiveFloat = 1.0


class Ad2:
    """Kd on clean text, and on embeddings pushed to where it hurts."""

    Config: ClassVar = Ad2Config

    def __init__(self, config: Ad2Config, parts: Parts) -> None:
        self._config = config
        self._student = parts.student
        self._regression = parts.task.regression

    @staticmethod
    def refuses(config: Ad2Config, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._student)}

    def phase(self, step: int) -> str:
        """Always the student's turn; the ascent happens inside its loss."""
        return STUDENT

    def _soft(self, batch: Batch, logits: Tensor) -> Tensor:
        return divergence(batch.teacher_logits, logits, "kl", self._config.temperature, self._regression)

    def _logits(self, batch: Batch, embeds: Tensor) -> Tensor:
        copies = len(embeds) // len(batch)
        types = batch.token_type_ids
        out = self._student(
            inputs_embeds=embeds,
            attention_mask=batch.attention_mask.repeat(copies, 1),
            token_type_ids=None if types is None else types.repeat(copies, 1),
        )
        return out.logits.float()

    def perturb(self, batch: Batch, noise: RowNoise) -> list[Tensor]:
        """δ after each of the K steps, (B, n, d) each; the student's gradients and dropout stay out of it."""
        config, ball = self._config, Ball(self._config.norm, self._config.radius)
        clean = words(self._student, batch).detach()
        shape, allowed = clean.shape, batch.maskable

        def objective(delta: Tensor) -> Tensor:
            logits = self._logits(batch, clean + delta)
            # A step is as long whatever the gradient's length, so a mean over the batch serves every example.
            return supervised(logits, batch.labels) if config.adversary == "gold" else self._soft(batch, logits)

        def uniform() -> Tensor:
            return 2 * noise.uniform(shape[1] * shape[2]).view(shape) - 1

        delta = start(uniform(), config.initial_size, ball, allowed)
        path = []
        with evaluating(self._student):
            for _ in range(config.steps):
                delta = step_uphill(delta, gradient_at(delta, objective), config.step_size, ball, allowed)
                path.append(delta)
        if config.adversary == "random":
            return [scaled(uniform(), example_size(delta, config.norm), config.norm, allowed) for delta in path]
        return path

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Clean and perturbed inputs in one pass."""
        config = self._config
        path = self.perturb(batch, noise)
        points = path if config.average_steps else path[-1:]
        clean_words = words(self._student, batch)
        embeds = torch.cat([clean_words, *(clean_words + delta for delta in points)])
        clean, *others = self._logits(batch, embeds).chunk(1 + len(points))
        gold, soft = supervised(clean, batch.labels), self._soft(batch, clean)
        adversarial = torch.stack([self._soft(batch, logits) for logits in others]).mean()
        total = (1 - config.distillation) * gold + config.distillation * soft + config.weight * adversarial
        terms = {"cross_entropy": gold, "distillation": soft, "adversarial": adversarial}
        sizes = [example_size(x * batch.maskable.unsqueeze(-1), "l2").mean() for x in (path[-1], clean_words.detach())]
        share = sizes[0] / sizes[1].clamp(min=TINY)
        return StepLoss(total, {**{k: v.detach() for k, v in terms.items()}, "relative_perturbation": share})

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The perturbed batch, shown as the nearest tokens; the teacher's answer is the clean one by construction."""
        with torch.enable_grad():
            delta = self.perturb(batch, noise)[-1]
        with torch.no_grad():
            moved = words(self._student, batch) + delta
            tokens = batch.input_ids.clone()
            places = batch.maskable
            tokens[places] = nearest_tokens(self._student.embedding.weight.float(), moved[places])
            return Invented(
                input_ids=tokens,
                changed=places,
                teacher_logits=batch.teacher_logits,
                student_logits=self._logits(batch, moved),
            )

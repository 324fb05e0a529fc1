"""FreeLB: embedding noise that raises the distillation loss, with the gradients of every ascent step averaged.

L = (1/K) Σ_k L_kd(e + δ_k),  δ_{k+1} = Π_ε(δ_k + η·g_k/‖g_k‖),  L_kd = (1−a)·CE + a·τ²·KL

*Source* Zhu et al. 2020, arXiv 1909.11764, algorithm 1; zhuchen03/FreeLB.
*Differs from the source*: see docs/methods/freelb.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.perturbation import Ball, Norm, nearest_tokens, start, step_uphill, words
from limbeck.noise import RowNoise


class FreelbConfig(MethodConfig):
    """Settings in the range of the released scripts."""

    name: Literal["freelb"] = "freelb"
    steps: PositiveInt = 2
    """K: passes, of which each but the last ends with a step uphill."""
    step_size: PositiveFloat = 0.1
    """η: size of a step over the whole example, in the measure of `norm`."""
    norm: Norm = "l2"
    """l2: Frobenius norm of an example's perturbation; linf: its largest number."""
    radius: NonNegativeFloat = 0.3
    """ε: largest size of a perturbation; 0 sets no bound."""
    initial_size: NonNegativeFloat = 0.1
    """Of the random start, in the measure of `norm`."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    temperature: PositiveFloat = 2.0


class Freelb:
    """Distillation under embedding noise that climbs while it learns."""

    Config: ClassVar = FreelbConfig

    def __init__(self, config: FreelbConfig, parts: Parts) -> None:
        self._config = config
        self._student = parts.student
        self._regression = parts.task.regression

    @staticmethod
    def refuses(config: FreelbConfig, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student."""
        return {STUDENT: Trainable(self._student)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def _pass(self, batch: Batch, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and kd loss at e + δ."""
        config = self._config
        out = self._student(
            inputs_embeds=words(self._student, batch) + delta,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
        )
        soft = divergence(batch.teacher_logits, out.logits, "kl", config.temperature, self._regression)
        return out.logits.float(), (1 - config.distillation) * supervised(
            out.logits, batch.labels
        ) + config.distillation * soft

    def _climb(self, batch: Batch, noise: RowNoise) -> tuple[list[Tensor], Tensor, Tensor]:
        """Losses at each step, and the last point's logits and δ."""
        config, ball = self._config, Ball(self._config.norm, self._config.radius)
        n, d = batch.input_ids.shape[1], self._student.embedding.weight.shape[1]
        uniform = 2 * noise.uniform(n * d).view(-1, n, d).to(batch.input_ids.device) - 1
        delta = start(uniform, config.initial_size, ball, batch.maskable)
        losses: list[Tensor] = []
        logits = batch.teacher_logits
        for k in range(config.steps):
            delta = delta.detach().requires_grad_()
            logits, loss = self._pass(batch, delta)
            losses.append(loss)
            if k + 1 < config.steps:
                (uphill,) = torch.autograd.grad(loss, delta, retain_graph=True)
                delta = step_uphill(delta.detach(), uphill, config.step_size, ball, batch.maskable)
        return losses, logits, delta.detach()

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The mean over the passes."""
        losses, _, _ = self._climb(batch, noise)
        total = torch.stack(losses).mean()
        return StepLoss(total, {"first_pass": losses[0].detach(), "last_pass": losses[-1].detach()})

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The last point of the climb, shown as the nearest tokens; the teacher is asked about clean text only."""
        with torch.enable_grad():
            _, logits, delta = self._climb(batch, noise)
        with torch.no_grad():
            tokens, places = batch.input_ids.clone(), batch.maskable
            moved = words(self._student, batch) + delta
            tokens[places] = nearest_tokens(self._student.embedding.weight.float(), moved[places])
        return Invented(tokens, places, batch.teacher_logits, logits.detach())

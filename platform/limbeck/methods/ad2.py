"""AD²: noise on the student's word embeddings, where the student strays furthest from the teacher's clean answer.

e = W_S[x];  q = p_T(x)        min_S  (1−a)·CE + a·τ²·KL(q‖S(e)) + λ·τ²·KL(q‖S(e+δ*))
δ* by K steps of projected ascent, per example, zero on pads and specials:  δ ← Π_ε(δ + η·g/‖g‖)

The teacher labels the clean text, so its answers come from the cache.

*Source* Zhang, Naresh, He, AAAI 2022 (no released code): abstract and figure caption.
*Differs from the source*: see docs/methods/ad2.md, which numbers every choice the paper leaves open.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

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
    step_size: PositiveFloat = 0.1
    """η: size of a step over the whole example, in the measure of `norm`. One word's embedding is about 1 long."""
    norm: Norm = "l2"
    """l2: Frobenius norm of an example's perturbation; linf: its largest number."""
    radius: NonNegativeFloat = 0.0
    """ε: largest size of a perturbation; 0 sets no bound."""
    initial_size: NonNegativeFloat = 0.0
    """Of a random start, in the measure of `norm`. 0 starts at the clean text, where training goes anyway: with one or
    two classes, or with `adversary: loss`, the first step then costs nothing."""
    adversary: Literal["teacher", "gold", "loss", "random"] = "teacher"
    """What the ascent climbs: divergence from the teacher, the gold label's loss, or the clean loss (1−a)·CE + a·τ²·KL.
    `random` climbs as `teacher` does, then replaces the perturbation by noise of the same size: the control for its
    direction."""
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
        self._ball = Ball(config.norm, config.radius)
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

    def _clean_loss(self, batch: Batch, logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(1−a)·CE + a·τ²·KL, and both terms."""
        gold, soft = supervised(logits, batch.labels), self._soft(batch, logits)
        share = self._config.distillation
        return (1 - share) * gold + share * soft, {"cross_entropy": gold, "distillation": soft}

    def _height(self, batch: Batch, logits: Tensor) -> Tensor:
        """What the ascent climbs: a mean over the batch serves, as a step is as long whatever the slope."""
        if self._config.adversary == "gold":
            return supervised(logits, batch.labels)
        if self._config.adversary == "loss":
            return self._clean_loss(batch, logits)[0]
        return self._soft(batch, logits)

    def _step(self, batch: Batch, delta: Tensor, slope: Tensor) -> Tensor:
        return step_uphill(delta, slope, self._config.step_size, self._ball, batch.maskable)

    def _ascend(self, batch: Batch, delta: Tensor, steps: int) -> list[Tensor]:
        """δ after each of some steps, with passes of their own, in which dropout is off."""
        clean, path = words(self._student, batch).detach(), []
        with evaluating(self._student):
            for _ in range(steps):
                slope = gradient_at(delta, lambda d: self._height(batch, self._logits(batch, clean + d)))
                delta = self._step(batch, delta, slope)
                path.append(delta)
        return path

    def _uniform(self, batch: Batch, noise: RowNoise) -> Tensor:
        """(B, n, d) numbers of U[−1, 1)."""
        shape = (*batch.input_ids.shape, self._student.embedding.weight.shape[1])
        return 2 * noise.uniform(shape[1] * shape[2]).view(shape).to(batch.input_ids.device) - 1

    def _aimed(self, batch: Batch, path: list[Tensor], noise: RowNoise) -> list[Tensor]:
        """The path, or noise as large as each of its points."""
        if self._config.adversary != "random":
            return path
        norm, drawn = self._config.norm, [self._uniform(batch, noise) for _ in path]
        sizes = [example_size(delta, norm) for delta in path]
        return [scaled(random, size, norm, batch.maskable) for random, size in zip(drawn, sizes, strict=True)]

    def perturb(self, batch: Batch, noise: RowNoise) -> list[Tensor]:
        """δ after each of the K steps, (B, n, d) each; the student's gradients and dropout stay out of it."""
        config = self._config
        delta = start(self._uniform(batch, noise), config.initial_size, self._ball, batch.maskable)
        return self._aimed(batch, self._ascend(batch, delta, config.steps), noise)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The clean loss, and λ times the soft labels' at the perturbed inputs."""
        clean_words = words(self._student, batch)
        if self._config.initial_size == 0:
            total, terms, path, others = self._from_clean_text(batch, clean_words, noise)
        else:
            path = self.perturb(batch, noise)
            embeds = torch.cat([clean_words, *(clean_words + delta for delta in self._points(path))])
            clean, *others = self._logits(batch, embeds).chunk(1 + len(self._points(path)))
            total, terms = self._clean_loss(batch, clean)
        terms["adversarial"] = torch.stack([self._soft(batch, logits) for logits in others]).mean()
        sizes = [example_size(x * batch.maskable.unsqueeze(-1), "l2").mean() for x in (path[-1], clean_words.detach())]
        terms["relative_perturbation"] = sizes[0] / sizes[1].clamp(min=TINY)
        total = total + self._config.weight * terms["adversarial"]
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    def _points(self, path: list[Tensor]) -> list[Tensor]:
        """Those that are learnt from."""
        return path if self._config.average_steps else path[-1:]

    def _from_clean_text(
        self, batch: Batch, clean_words: Tensor, noise: RowNoise
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor], list[Tensor]]:
        """Clean loss and terms, path and perturbed logits: the pass that yields gradients yields the first slope.

        It ends at the words, where the perturbed part's arrives too, so that both go into their table together.
        """
        leaf = clean_words.detach().requires_grad_()
        logits = self._logits(batch, leaf)
        end = logits.detach().requires_grad_()
        loss, terms = self._clean_loss(batch, end)
        (down,) = torch.autograd.grad(loss, end)
        (up,) = torch.autograd.grad(self._height(batch, end), end)
        taught = [p for p in self._student.parameters() if p.requires_grad]
        uphill: Tensor | None = None
        if self._config.adversary != "loss" and logits.shape[1] > 2:
            (uphill,) = torch.autograd.grad(logits, leaf, up, retain_graph=True)
        slope, *gradients = torch.autograd.grad(logits, [leaf, *taught], down, allow_unused=True)
        if self._config.adversary == "loss":
            uphill = slope
        elif uphill is None:
            # The gradient of two logits is a multiple of (1, −1), so all slopes of an example lie on one line; a step
            # is as long whatever the slope, so only the direction on it counts.
            uphill = slope * (torch.sign(up) * torch.sign(down))[:, :1].unsqueeze(-1)
        first = self._step(batch, torch.zeros_like(slope), uphill)
        path = self._aimed(batch, [first, *self._ascend(batch, first, self._config.steps - 1)], noise)
        points = [clean_words + delta for delta in self._points(path)]
        others = self._logits(batch, torch.cat(points)).chunk(len(points))
        return differentiated(loss, [clean_words, *taught], [slope, *gradients]), terms, path, list(others)

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


class _Differentiated(torch.autograd.Function):
    """A number, with the gradients that it is known to have in some tensors."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor | None], *tensors: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, towards: Tensor) -> tuple[Tensor | None, ...]:
        # A weight of exactly 1 is the common case; asking costs a GPU more than the product. In place: nobody else has
        # them, and new memory for all of a student's weights costs more than the product, too.
        if towards.device.type == "cpu" and towards.item() == 1:
            return (None, None, *ctx.gradients)
        return (None, None, *(None if g is None else g.mul_(towards) for g in ctx.gradients))


def differentiated(value: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """() `value`, whose `gradients` in the `tensors` are known: going back from it to them computes nothing."""
    out: Tensor = _Differentiated.apply(value.detach(), gradients, *tensors)  # type: ignore[no-untyped-call]
    return out

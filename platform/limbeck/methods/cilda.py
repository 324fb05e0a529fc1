"""CILDA: MATE-KD's invented inputs, made and learnt from with a contrast between the networks' layers on top.

R_S(x) = normalise(A_S [mp(h_S^1); …; mp(h_S^k)]),  R_T(x) = normalise(A_T [mp(h_T^g(1)); …]), mp: mean over real tokens
NCE(x) = −log e^{⟨R_S(x),R_T(x)⟩/τ_c} / Σ_{x_j in pool} e^{⟨R_S(x),R_T(x_j)⟩/τ_c}
generator step: maximise D(x′) + γ·NCE(x′) over G
student step:   w1·CE + w2·D(x) + w3·D(x′) + w4·NCE(x) + w5·NCE(x′) over S, A_S, A_T

The pool is the whole batch of all workers, clean and invented.

*Source* Haidar et al. 2022, arXiv 2204.07674 (no released code): abstract.
*Differs from the source*: see docs/methods/cilda.md, which numbers every choice the abstract leaves open.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.config import Config
from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import (
    STUDENT,
    Invented,
    MethodConfig,
    Parts,
    Setting,
    StepLoss,
    Trainable,
    as_module,
    evaluating,
)
from limbeck.methods.contrast import OtherView, Representations, beyond, distance, even_layers, infonce_in_pool
from limbeck.methods.losses import Divergence, divergence, supervised
from limbeck.methods.masking import (
    invent_embeds,
    invent_inputs,
    logits_of,
    mask_id,
    mask_tokens,
    no_generator,
    read_both,
    read_embeds,
    show_inventions,
)
from limbeck.methods.mate import AdversaryConfig, adversary, new_adversary, turn
from limbeck.noise import RowNoise


class CildaWeights(Config):
    """Weights of the student's loss."""

    cross_entropy: NonNegativeFloat = 1 / 3
    distillation: NonNegativeFloat = 1 / 3
    adversarial: NonNegativeFloat = 1 / 3
    contrast_clean: NonNegativeFloat = 0.1
    """w4 of NCE(x)."""
    contrast_adversarial: NonNegativeFloat = 0.1
    """w5 of NCE(x′)."""


class CildaConfig(MethodConfig):
    """MATE-KD's published settings; every number of the contrast is our choice."""

    name: Literal["cilda"] = "cilda"
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    generator_steps: PositiveInt = 10
    student_steps: PositiveInt = 100
    divergence: Divergence = "kl"
    temperature: PositiveFloat = 1.0
    """τ of the divergence D."""
    contrast: Literal["infonce", "mse"] = "infonce"
    """Tell the own text from the rest of the pool, or only come close to it (then A_T stays as it starts)."""
    contrast_temperature: PositiveFloat = 0.1
    """τ_c."""
    projection: PositiveInt = 128
    """Width of R_S and R_T."""
    layers: PositiveInt | None = None
    """k: layers of each network, evenly spaced, the last included. Default: all of the student's."""
    other_view: OtherView = "ignored"
    """What the invented text is to the text it was made from, and the other way round, in the pool."""
    gamma: NonNegativeFloat = 1.0
    """γ of NCE(x′) in the generator's step; 0 leaves it out."""
    weights: CildaWeights = CildaWeights()
    generator: AdversaryConfig = AdversaryConfig()


class Cilda:
    """A generator that seeks disagreement in outputs and in layers, and a student that learns both."""

    Config: ClassVar = CildaConfig

    def __init__(self, config: CildaConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._generator = new_adversary(config.generator, parts)
        self._mask = mask_id(parts)
        count = config.layers or parts.student.layers
        layers = even_layers(count, parts.student.layers), even_layers(count, parts.teacher.layers)
        self._representations = Representations(
            (parts.student, parts.teacher), layers, "mean", config.projection, parts.seed
        )
        if config.contrast == "mse":
            self._representations.hold_teacher()
        self._module = nn.ModuleList([as_module(parts.student), self._representations])

    @staticmethod
    def refuses(config: CildaConfig, setting: Setting) -> Sequence[Problem]:
        """A vocabulary without a mask token; more layers than a network has."""
        count = (config.layers or setting.student_layers,)
        networks = (("student", setting.student_layers), ("teacher", setting.teacher_layers))
        found = [problem for whose, depth in networks for problem in beyond("method.layers", count, depth, whose)]
        return [*no_generator(setting), *found]

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student with the projections, and the generator unless it is frozen.

        In the generator's steps the projections stand still: it could have its way with them, and they with it.
        """
        return {STUDENT: Trainable(self._module), **adversary(self._config.generator, self._generator)}

    def phase(self, step: int) -> str:
        """MATE-KD's cycle."""
        config = self._config
        return STUDENT if config.generator.frozen else turn(step, config.generator_steps, config.student_steps)

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """−D(x′) − γ·NCE(x′) for the generator; the weighted sum of five terms for the student."""
        return self._student_loss(batch, noise) if phase == STUDENT else self._generator_loss(batch, noise)

    def _divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        config = self._config
        return divergence(teacher, student, config.divergence, config.temperature, self._parts.task.regression)

    def _contrast(self, anchors: Tensor, own: Tensor, other: Tensor) -> Tensor:
        if self._config.contrast == "mse":
            return distance(anchors, own)
        return infonce_in_pool(anchors, own, other, self._config.contrast_temperature, self._config.other_view)

    # -- the student --------------------------------------------------------------------------------------------------

    def _student_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, weights = self._parts, self._config.weights
        contrasting = weights.contrast_clean > 0 or weights.contrast_adversarial > 0
        invented, _ = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, noise)
        student = read_both(parts.student, batch, invented, hidden=contrasting)
        clean, other = student.logits.float().chunk(2)
        extra: dict[str, Tensor] = {}
        contrasts: dict[str, Tensor] = {}
        if contrasting:
            with torch.no_grad():
                teacher = read_both(parts.teacher, batch, invented, hidden=True)
            target = teacher.logits.float().chunk(2)[1]
            mask, represent = batch.attention_mask.repeat(2, 1), self._representations
            ours, theirs = represent.student(student.hidden, mask), represent.teacher(teacher.hidden, mask)
            contrasts, extra = self._contrasts(ours, theirs)
        else:
            with torch.no_grad():
                target = logits_of(parts.teacher, batch, invented)
        terms = {
            "cross_entropy": supervised(clean, batch.labels),
            "distillation": self._divergence(batch.teacher_logits, clean),
            "adversarial": self._divergence(target, other),
            **contrasts,
        }
        total = sum((getattr(weights, name) * term for name, term in terms.items()), clean.new_zeros(()))
        return StepLoss(total, {**{name: term.detach() for name, term in terms.items()}, **extra})

    def _contrasts(self, ours: Tensor, theirs: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """NCE(x), NCE(x′), and what to log of them; R_S and R_T (2B, p) of the clean and the invented batch."""
        gathered = self._parts.gather(torch.cat([*ours.chunk(2), *theirs.chunk(2)], 1))
        student, student_other, teacher, teacher_other = gathered.chunk(4, 1)
        contrasts = {
            "contrast_clean": self._contrast(student, teacher, teacher_other),
            "contrast_adversarial": self._contrast(student_other, teacher_other, teacher),
        }
        return contrasts, {"found": share_found(student.detach(), teacher.detach())}

    # -- the generator ------------------------------------------------------------------------------------------------

    def _generator_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, config = self._parts, self._config
        contrasting = config.gamma > 0
        masked = mask_tokens(batch, config.mask_rate, self._mask, noise)
        networks = (parts.teacher, parts.student)
        embeds = invent_embeds(self._generator, networks, batch, masked, config.generator.temperature, noise)
        with evaluating(parts.student):
            teacher, student = (
                read_embeds(network, batch, words, hidden=contrasting)
                for network, words in zip(networks, embeds, strict=True)
            )
        reward = gap = self._divergence(teacher.logits, student.logits)
        terms = {"generator_divergence": gap}
        if contrasting:
            mask, represent = batch.attention_mask, self._representations
            views = (
                represent.student(student.hidden, mask),
                represent.teacher(teacher.hidden, mask),
                self._clean_view(batch),
            )
            anchors, own, other = parts.gather(torch.cat(views, 1)).chunk(3, 1)
            terms["generator_contrast"] = self._contrast(anchors, own, other)
            reward = gap + config.gamma * terms["generator_contrast"]
        terms["generator_reward"] = reward
        return StepLoss(-reward, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def _clean_view(self, batch: Batch) -> Tensor:
        """(B, p) R_T of the clean batch: apart from the invented one, which alone needs a backward pass."""
        out = self._parts.teacher(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            hidden=True,
        )
        return self._representations.teacher(out.hidden, batch.attention_mask)

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """What the generator would write now."""
        made = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, noise)
        return show_inventions(made, self._parts.new_generator(self._config.generator), batch, self._parts)


def share_found(student: Tensor, teacher: Tensor) -> Tensor:
    """() share of the (B, p) students whose nearest teacher is that of their own text."""
    nearest = (student @ teacher.T).argmax(1)
    return (nearest == torch.arange(len(student), device=student.device)).float().mean()

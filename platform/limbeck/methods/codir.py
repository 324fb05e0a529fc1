"""CoDIR: the student's layers must tell their own text's teacher from those of other labels, kept in a bank.

Before it, if wanted, a stage on text without labels: see pretraining.py. Fine-tuning:

L = (1 − β)·CE + β·τ²·KL(p_T‖p_S) + w·(ℓ(z_S, M_T) + ℓ(z_T, M_S))/2,  z = normalise(A [pool(h^1); …; pool(h^k)])
ℓ infonce: the own text's z of the other network against K rows of its bank
ℓ nce:     the own row of the bank against K rows of it, by noise-contrastive estimation with a fixed Z
then M[i] ← normalise(m·M[i] + (1 − m)·z), i the stable row number

*Source* Sun, Gan, Fang, Cheng, Wang, Liu 2020, arXiv 2009.14167, section 3; intersun/CoDIR @5b2abd4, `crd/` and
`fairseq/criterions/sentence_prediction_crd.py`.
*Differs from the source*: see docs/methods/codir.md, which numbers every difference.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.encoding import Batch
from limbeck.errors import Problem, UserError
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable, as_module
from limbeck.methods.contrast import (
    Pooling,
    Representations,
    beyond,
    cosines,
    distance,
    even_layers,
    infonce,
    nce,
)
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.pretraining import Pretraining, PretrainingConfig, unfit
from limbeck.noise import RowNoise, derived_seed

PRETRAINING = "pretraining"
LayerNumbers = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class CodirConfig(MethodConfig):
    """The numbers of the released code; the contrast and the pooling of the paper."""

    name: Literal["codir"] = "codir"
    temperature: PositiveFloat = 2.0
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """β: share of the soft labels; the gold labels have the rest."""
    weight: NonNegativeFloat = 0.03
    """w of the contrast, a mean over the batch as the other terms are: the code's weight / its batch size."""
    contrast: Literal["infonce", "nce", "mse"] = "infonce"
    """The paper's, the code's, or plain closeness to the own text's teacher (then A_T stays as it starts)."""
    contrast_temperature: PositiveFloat = 0.07
    negatives: PositiveInt = 100
    """K: rows of the bank that each row is told apart from, drawn with replacement."""
    negatives_from: Literal["other_labels", "random"] = "other_labels"
    """Rows of another gold label, or any other rows."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """m: share of the old entry when a row of the bank is renewed."""
    projection: PositiveInt = 128
    """Width of z and of the banks."""
    pooling: Pooling = "mean"
    """Mean over real tokens (paper) or first token (code)."""
    student_layers: LayerNumbers | None = None
    """Counted from 1. Default: all."""
    teacher_layers: LayerNumbers | None = None
    """Counted from 1. Default: as many as of the student, evenly spaced, the last included."""
    pretraining: PretrainingConfig | None = None
    """A stage on text without labels before this one, of which it takes pooling, projection and student_layers."""


class Banks(nn.Module):
    """The last z of every training row, (N, p) for each network, and what else must survive a checkpoint."""

    student: Tensor
    teacher: Tensor
    log_z: Tensor
    begun: Tensor

    def __init__(self, rows: int, width: int, seed: int) -> None:
        super().__init__()
        for i, name in enumerate(("student", "teacher")):
            draw = torch.Generator().manual_seed(derived_seed(seed, "bank", i))
            self.register_buffer(name, F.normalize(torch.randn(rows, width, generator=draw), dim=1))
        self.register_buffer("log_z", torch.zeros(2))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def renew(self, rows: Tensor, student: Tensor, teacher: Tensor, momentum: float) -> None:
        """Mix (B, p) new representations into the entries of B rows. The last one counts where a row comes twice."""
        last = ((rows[:, None] == rows[None]) * torch.arange(1, len(rows) + 1, device=rows.device)).argmax(1)
        for bank, new in ((self.student, student), (self.teacher, teacher)):
            bank[rows] = F.normalize(momentum * bank[rows] + (1 - momentum) * new[last], dim=1)

    @torch.no_grad()
    def normaliser(self, log_sums: Tensor, candidates: int) -> Tensor:
        """(2,) log Z, kept from the first batch on: log(N · mean e^{cosine/τ}); log_sums (B, 2) over the candidates."""
        rows = len(self.student)
        first = log_sums.logsumexp(0) - math.log(len(log_sums) * candidates) + math.log(rows)
        self.log_z.copy_(torch.where(self.begun, self.log_z, first))
        self.begun.fill_(True)
        return self.log_z.clone()


class Negatives:
    """Draws rows to be told apart from."""

    def __init__(self, groups: Tensor) -> None:
        """Rows with equal numbers in (N,) `groups` are not told apart."""
        rows = len(groups)
        self._order = groups.argsort(stable=True)
        _, group = torch.unique(groups, return_inverse=True)
        sizes = group.bincount()
        self._start = (sizes.cumsum(0) - sizes)[group]
        self._size = sizes[group]
        if bool((self._size == rows).any()):
            what = "all training rows have one label" if rows > 1 else "there is only one training row"
            raise UserError(Problem("method.negatives_from", f"{what}, so there is nothing to tell them apart from"))

    def draw(self, rows: Tensor, uniform: Tensor) -> Tensor:
        """(B, K) rows for B rows and (B, K) numbers from U[0, 1), with replacement."""
        start, size = self._start[rows, None], self._size[rows, None]
        free = len(self._order) - size
        # In float64, where u·N is below N for every u < 1, however many rows there are.
        place = (uniform.double() * free).long()
        return self._order[place + (place >= start) * size]


class Codir:
    """Kd, and layers that are told apart by what the teacher makes of their text."""

    Config: ClassVar = CodirConfig

    def __init__(self, config: CodirConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        ours = config.student_layers or even_layers(parts.student.layers, parts.student.layers)
        theirs = config.teacher_layers or even_layers(len(ours), parts.teacher.layers)
        self._representations = Representations(
            (parts.student, parts.teacher), (ours, theirs), config.pooling, config.projection, parts.seed
        )
        modules = [as_module(parts.student), self._representations]
        if config.contrast == "mse":
            self._representations.hold_teacher()
        else:
            self._negatives = Negatives(_groups(config, parts))
            banks = Banks(parts.task.rows, config.projection, parts.seed)
            self._banks = banks.to(parts.task.labels.device)
            modules.append(self._banks)
        self._module = nn.ModuleList(modules)
        self._pretraining: Pretraining | None = None
        if config.pretraining is not None:
            self._pretraining = Pretraining(config.pretraining, parts, ours, config.pooling, config.projection)

    @staticmethod
    def refuses(config: CodirConfig, setting: Setting) -> Sequence[Problem]:
        """Negatives by label where there are no labels; layers that are not there; no masked LM to learn from."""
        found = []
        if setting.regression and config.contrast != "mse" and config.negatives_from == "other_labels":
            what = "other_labels needs classes, but the task is a regression: set it to random"
            found.append(Problem("method.negatives_from", what))
        depths = setting.student_layers, setting.teacher_layers
        found += beyond("method.student_layers", config.student_layers or (), depths[0], "student")
        count = len(config.student_layers or range(depths[0]))
        if config.teacher_layers:
            found += beyond("method.teacher_layers", config.teacher_layers, depths[1], "teacher")
        else:
            found += beyond("method.student_layers", (count,), depths[1], "teacher")
        return found if config.pretraining is None else found + unfit(config.pretraining, count, setting)

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student with the projections; the banks beside it have no parameters. The first stage has its own."""
        student = {STUDENT: Trainable(self._module)}
        return student if self._pretraining is None else {**student, PRETRAINING: self._pretraining.trainable}

    def phase(self, step: int) -> str:
        """The first stage from its first step to its last, then the student's turn for good."""
        first = self._config.pretraining
        return PRETRAINING if first is not None and step < first.updates else STUDENT

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Cross-entropy, distillation and contrast; renews the banks. Or the first stage's loss, on text of its own."""
        if phase == PRETRAINING:
            assert self._pretraining is not None
            return self._pretraining.loss(noise)
        config, parts = self._config, self._parts
        contrasting = config.weight > 0
        out = parts.student(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            hidden=contrasting,
        )
        gold = supervised(out.logits, batch.labels)
        soft = divergence(batch.teacher_logits, out.logits, "kl", config.temperature, parts.task.regression)
        total = (1 - config.distillation) * gold + config.distillation * soft
        terms = {"cross_entropy": gold, "distillation": soft}
        if contrasting:
            student = self._representations.student(out.hidden, batch.attention_mask)
            teacher = self._teacher(batch)
            terms["contrast"] = self._contrast(batch.rows, student, teacher, noise)
            terms["cosine"] = (student * teacher).sum(1).mean()
            total = total + config.weight * terms["contrast"]
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    def _teacher(self, batch: Batch) -> Tensor:
        """(B, p) z_T; gradients end at A_T."""
        with torch.no_grad():
            out = self._parts.teacher(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                token_type_ids=batch.token_type_ids,
                hidden=True,
            )
        return self._representations.teacher(out.hidden, batch.attention_mask)

    def _contrast(self, rows: Tensor, student: Tensor, teacher: Tensor, noise: RowNoise) -> Tensor:
        """The mean of both directions, against the banks as they were before this batch."""
        config = self._config
        if config.contrast == "mse":
            return distance(student, teacher)
        others = self._negatives.draw(rows, noise.uniform(config.negatives).to(rows.device))
        pairs = ((student, teacher, self._banks.teacher), (teacher, student, self._banks.student))
        if config.contrast == "infonce":
            losses = [
                infonce((anchor * own).sum(1), cosines(anchor, bank[others]), config.contrast_temperature)
                for anchor, own, bank in pairs
            ]
        else:
            candidates = torch.cat([rows[:, None], others], 1)
            scores = [cosines(anchor, bank[candidates]) / config.contrast_temperature for anchor, _, bank in pairs]
            sums = torch.stack([s.detach().logsumexp(1) for s in scores], 1)
            log_z = self._banks.normaliser(self._parts.gather(sums), candidates.shape[1])
            losses = [nce(s - own_z, self._parts.task.rows) for s, own_z in zip(scores, log_z.unbind(), strict=True)]
        everyone = self._parts.gather(torch.cat([student, teacher], 1).detach()).chunk(2, 1)
        self._banks.renew(self._parts.gather(rows), everyone[0], everyone[1], config.momentum)
        return (losses[0] + losses[1]) / 2

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """Nothing is invented."""
        return None


def _groups(config: CodirConfig, parts: Parts) -> Tensor:
    """(N,) numbers: rows of one number are no negatives to each other."""
    if config.negatives_from == "random":
        return torch.arange(parts.task.rows, device=parts.task.labels.device)
    if parts.task.regression:
        raise ValueError("method.negatives_from: a regression has no labels to draw by")
    return parts.task.labels

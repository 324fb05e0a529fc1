"""Glitter: of k augmentations made beforehand, learn from those on which teacher and student differ most.

L = (1−a)·CE + a·τ²·KL(p_T‖p_S) + w·mean of τ²·KL(p_T(x′)‖p_S(x′)) over the m of k edits x′ where it is largest

A discrete adversary without a generator: it selects where MATE-KD searches.

*Source* Kamalloo, Rezagholizadeh, Ghodsi 2022, Findings of ACL (2022.findings-acl.84), section 3;
huawei-noah/Efficient-NLP @3e6840c, `Glitter/src/glitter/modeling_glitter.py`.
*Differs from the source*: see docs/methods/glitter.md, which numbers every difference.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

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
from limbeck.methods.eda import logits_on, shown
from limbeck.methods.edits import Edited, edit
from limbeck.methods.losses import divergence, divergence_rows, supervised
from limbeck.noise import RowNoise


class GlitterConfig(MethodConfig):
    """Size of the pool, and how many of it are learnt from."""

    name: Literal["glitter"] = "glitter"
    candidates: PositiveInt = 4
    """k: augmentations of each row."""
    chosen: PositiveInt = 1
    """m: of which this many are learnt from at a time."""
    edit_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """α: edits a row / its tokens; at least one."""
    weight: NonNegativeFloat = 1.0
    """w of the chosen edits' term."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """a: share of the clean soft labels; the gold labels have the rest."""
    temperature: PositiveFloat = 2.0

    @model_validator(mode="after")
    def _enough(self) -> "GlitterConfig":
        if self.chosen > self.candidates:
            raise ValueError(f"chosen ({self.chosen}) is more than candidates ({self.candidates})")
        return self


class _Answers(nn.Module):
    """The teacher's (rows, k, C) answers to the pool, and for which (rows,) it has been asked: that in host memory."""

    answers: Tensor
    asked: Tensor

    def __init__(self, rows: int, candidates: int, classes: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("answers", torch.zeros(rows, candidates, classes, device=device))
        self.register_buffer("asked", torch.zeros(rows, dtype=torch.bool))


class Glitter:
    """Kd on the rows and on the hardest of their edits."""

    Config: ClassVar = GlitterConfig

    def __init__(self, config: GlitterConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        classes, device = max(1, parts.task.classes), parts.task.labels.device
        self._pool = _Answers(parts.task.rows, config.candidates, classes, device)
        self._both = nn.ModuleList([as_module(parts.student), self._pool])

    @staticmethod
    def refuses(config: GlitterConfig, setting: Setting) -> Sequence[Problem]:
        """Nothing: it serves every task."""
        return ()

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student, and beside it the store of the teacher's answers, which has no parameters."""
        return {STUDENT: Trainable(self._both)}

    def phase(self, step: int) -> str:
        """Always the student's turn."""
        return STUDENT

    def _soft(self, teacher: Tensor, student: Tensor) -> Tensor:
        return divergence(teacher, student, "kl", self._config.temperature, self._parts.task.regression)

    def _candidates(self, batch: Batch) -> list[Edited]:
        """The k edits of each row: the same whenever the row comes."""
        rows, parts = batch.here.rows.tolist(), self._parts
        return [
            edit(batch, self._config.edit_share, parts.vocabulary, RowNoise(parts.seed, j, rows), parts.max_tokens)
            for j in range(self._config.candidates)
        ]

    @torch.no_grad()
    def _choose(self, batch: Batch, store: bool) -> tuple[list[Edited], Tensor, Tensor]:
        """The pool, the teacher's (B, k, C) answers, and the (B, m) numbers of the chosen edits."""
        pool, here = self._candidates(batch), batch.here.rows
        if store and bool(self._pool.asked[here].all()):
            known = self._pool.answers[batch.rows]
        else:
            known = torch.stack([logits_on(self._parts.teacher, e) for e in pool], 1)
        if store:
            self._pool.answers[batch.rows] = known
            self._pool.asked[here] = True
        with evaluating(self._parts.student):
            student = torch.stack([logits_on(self._parts.student, e) for e in pool], 1)
        gaps = divergence_rows(known, student, "kl", self._config.temperature, self._parts.task.regression)
        return pool, known, gaps.topk(self._config.chosen, 1).indices

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """Gold labels, clean soft labels, and the soft labels of the chosen edits."""
        config, student = self._config, self._parts.student
        pool, answers, chosen = self._choose(batch, store=True)
        out = student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        )
        gold, soft = supervised(out.logits, batch.labels), self._soft(batch.teacher_logits, out.logits)
        lines = torch.arange(len(batch), device=chosen.device)
        hard = torch.stack(
            [
                self._soft(answers[lines, chosen[:, j]], logits_on(student, pick(pool, chosen[:, j])))
                for j in range(config.chosen)
            ]
        ).mean()
        total = (1 - config.distillation) * gold + config.distillation * soft + config.weight * hard
        terms = {"cross_entropy": gold, "distillation": soft, "selected": hard}
        return StepLoss(total, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The hardest edit of each row."""
        pool, answers, chosen = self._choose(batch, store=False)
        lines = torch.arange(len(batch), device=chosen.device)
        hardest = pick(pool, chosen[:, 0])
        return shown(hardest, batch, answers[lines, chosen[:, 0]], logits_on(self._parts.student, hardest))


def pick(pool: list[Edited], which: Tensor) -> Edited:
    """Row b of the pool's edit which[b], all padded to the widest."""
    width = max(e.input_ids.shape[1] for e in pool)
    lines = torch.arange(len(which), device=which.device)

    def stacked(parts: list[Tensor]) -> Tensor:
        wide = [nn.functional.pad(x, (0, width - x.shape[1])) for x in parts]
        return torch.stack(wide)[which, lines]

    types = [e.token_type_ids for e in pool if e.token_type_ids is not None]
    return Edited(
        input_ids=stacked([e.input_ids for e in pool]),
        attention_mask=stacked([e.attention_mask for e in pool]),
        token_type_ids=stacked(types) if types else None,
    )

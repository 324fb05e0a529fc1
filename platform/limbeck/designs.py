"""Ablation designs: which factors each cell applies."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from limbeck.config import Config
from limbeck.dotted import within
from limbeck.errors import UserError
from limbeck.faults import Fault

REFERENCE = "reference"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*( [A-Za-z0-9_.-]+)*")


@dataclass(frozen=True)
class Cell:
    """One configuration known before the run; every seed is a trial of it."""

    name: str
    values: dict[str, Any]
    """Dotted path -> value, laid over the plan's base."""
    applied: tuple[str, ...] = ()
    """The ablation's factors in force."""
    task: str | None = None
    """The task, where the plan lists several."""


class AblateConfig(Config):
    """What is taken away, and in which combinations.

    leave-one-out: the base, and once with each factor applied. add-one-in: every factor applied, and once with each
    factor not applied. factorial: every combination, or a fraction of the given resolution.
    """

    design: Literal["leave-one-out", "add-one-in", "factorial"]
    factors: dict[str, dict[str, Any]] = Field(min_length=1, max_length=64)
    """Name -> the change that takes the component out of the base (or replaces it)."""
    resolution: int | None = None
    """3, 4 or 5: the smallest fraction of a factorial design that keeps that much apart. Default: all of it."""

    def faults(self) -> list[Fault]:
        """What the types cannot say: names fit for tables, and factors that can be combined."""
        found = [
            Fault(f"factors.{name}", "a factor's name is letters, digits, _ . - and single spaces, not 'reference'")
            for name in self.factors
            if not _NAME.fullmatch(name) or name == REFERENCE or len(name) > 64
        ]
        if self.resolution is not None and self.design != "factorial":
            found.append(Fault("resolution", "belongs to a factorial design"))
        if self.design != "leave-one-out":
            found += self._clashes()
        if self.design == "factorial":
            found += self._unfit()
        return found

    def _unfit(self) -> list[Fault]:
        try:
            self.combinations()
        except UserError as error:
            return [Fault(problem.where, problem.what) for problem in error.problems]
        return []

    def _clashes(self) -> list[Fault]:
        return [
            Fault(f"factors.{other}.{path}", f"factor '{one}' sets it too, and {self.design} applies both at once")
            for one, other in itertools.combinations(self.factors, 2)
            for path in self.factors[other]
            if any(within(path, earlier) or within(earlier, path) for earlier in self.factors[one])
        ]

    def combinations(self) -> list[tuple[str, ...]]:
        """Return the applied factors of every cell, the reference first."""
        names = tuple(self.factors)
        if self.design == "leave-one-out":
            return [(), *((name,) for name in names)]
        if self.design == "add-one-in":
            return [names, *(tuple(n for n in names if n != name) for name in names)]
        from limbeck.compare import factorial_design  # brings SciPy

        rows = factorial_design(names, self.resolution).levels
        return [tuple(name for name, level in zip(names, row, strict=True) if level > 0) for row in rows]

    def cells(self) -> list[Cell]:
        """Return the cells of one task."""
        return [Cell(self._name(applied), self._values(applied), applied) for applied in self.combinations()]

    def _name(self, applied: tuple[str, ...]) -> str:
        if self.design == "add-one-in":
            return next((name for name in self.factors if name not in applied), REFERENCE)
        return "+".join(applied) or REFERENCE

    def _values(self, applied: tuple[str, ...]) -> dict[str, Any]:
        return {path: value for name in applied for path, value in self.factors[name].items()}


def over_tasks(cells: Sequence[Cell], tasks: Sequence[Any]) -> list[Cell]:
    """Return every cell on every task; the cells themselves where no tasks are listed."""
    if not tasks:
        return list(cells)
    return [
        Cell(f"{cell.name}@{label}", {"task": task, **cell.values}, cell.applied, label)
        for task, label in zip(tasks, labels(tasks), strict=True)
        for cell in cells
    ]


def labels(tasks: Sequence[Any]) -> list[str]:
    """Return a name for every task: its own, or its hub id, or its place in the list."""
    return [task_label(task) or f"task {place}" for place, task in enumerate(tasks, 1)]


def task_label(task: Any) -> str | None:
    """Return the name or hub id a task is given by."""
    if isinstance(task, str):
        return task
    if not isinstance(task, Mapping):
        return None
    parts = [task[key] for key in ("name", "hub", "config") if isinstance(task.get(key), str)]
    return "/".join(parts) or None

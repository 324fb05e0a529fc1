"""A sweep's trials as cells: which seeds of a configuration have a result, and why the others have none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.analysis.asked import Asked, factorial_cells, read_asked
from limbeck.compare import Budget, Cell, equal_budget
from limbeck.errors import Problem, UserError
from limbeck.store import Reader, SweepRow, TrialRow

_SECONDS_TOLERANCE = 0.1
"""A run ends with the update, and often with the evaluation, during which its time is up."""
_NEVER = "not started"


@dataclass(frozen=True)
class Group:
    """The cells of a sweep on one task."""

    task: str
    seeds: tuple[int, ...]
    """Planned for every cell."""
    complete: Mapping[str, Mapping[int, TrialRow]]
    """Cell -> seed -> the trial that ran to its end; every cell is here, in the order planned."""
    absent: Mapping[str, Mapping[int, str]]
    """Cell -> seed -> why there is no result; cells that lack nothing are left out."""

    @property
    def rows(self) -> list[TrialRow]:
        """All complete trials."""
        return [row for seeds in self.complete.values() for row in seeds.values()]


def read_groups(reader: Reader, name: str) -> tuple[SweepRow, Asked, list[Group]]:
    """Return a sweep, what it was asked, and its cells by task. UserError: no such sweep, or nothing is complete."""
    sweep = reader.sweep(name)
    asked = read_asked(sweep)
    trials = reader.trials(name)
    if not any(row.state == "complete" for row in trials):
        raise UserError(Problem(f"sweep {name}", "no trial is complete yet, so there is nothing to compare"))
    by_task: dict[str, list[tuple[str, TrialRow]]] = {}
    for row in trials:
        cell, task = _place(row.cell, sweep, asked)
        by_task.setdefault(task, []).append((cell, row))
    return sweep, asked, [_group(task, rows, asked) for task, rows in by_task.items()]


def _place(cell: str, sweep: SweepRow, asked: Asked) -> tuple[str, str]:
    """Split `kd@movies`, the name of a cell of a plan over several tasks."""
    name, at, task = cell.partition("@")
    return (name, task) if asked.several_tasks and at else (cell, sweep.task)


def _group(task: str, rows: Sequence[tuple[str, TrialRow]], asked: Asked) -> Group:
    design = asked.factorial()
    names = dict.fromkeys([*(factorial_cells(design) if design else ()), *(cell for cell, _ in rows)])
    seeds = tuple(sorted({*asked.seeds, *(row.seed for _, row in rows)}))
    complete: dict[str, dict[int, TrialRow]] = {name: {} for name in names}
    absent = {name: dict.fromkeys(seeds, _NEVER) for name in names}
    for cell, row in rows:
        if row.state == "complete":
            complete[cell][row.seed] = row
            absent[cell].pop(row.seed, None)
        elif row.seed not in complete[cell]:
            absent[cell][row.seed] = _why(row)
    return Group(task, seeds, complete, {name: why for name, why in absent.items() if why})


def _why(row: TrialRow) -> str:
    if row.state == "failed":
        return f"failed: {row.error}" if row.error else "failed"
    return "stopped early" if row.state == "stopped" else row.state


def check_budget(group: Group) -> str:
    """Return what every run of a group was given, in words. UserError: runs of mixed fidelity.

    Student updates count; where runs were limited by time and reached its limit before their last update, seconds do.
    """
    runs = [(cell, row) for cell, seeds in group.complete.items() for row in seeds.values()]
    if not runs:
        return ""
    limits = [_limit(row) for _, row in runs]
    timed = any(row.updates < row.updates_total for _, row in runs)
    if timed and all(limit is not None for limit in limits):
        spent = [
            Budget(cell, row.seed, limit, row.seconds)
            for (cell, row), limit in zip(runs, limits, strict=True)
            if limit is not None
        ]
        return f"{equal_budget(spent, 'seconds', _SECONDS_TOLERANCE):g} seconds of training"
    counted = [Budget(cell, row.seed, row.updates_total, row.updates) for cell, row in runs]
    updates = equal_budget(counted, "updates")
    return f"{updates:,.0f} student updates" if updates else ""


def _limit(row: TrialRow) -> float | None:
    """Return the trial's limit in seconds."""
    limit = row.spec.get("training", {}).get("seconds")
    return float(limit) if isinstance(limit, int | float) else None


def method_of(row: TrialRow) -> str | None:
    """Return the name of a trial's method."""
    method = row.spec.get("method")
    name = method.get("name") if isinstance(method, dict) else method
    return name if isinstance(name, str) else None


def mean_seconds(rows: Sequence[TrialRow]) -> float | None:
    """Return the mean training time of trials; None without trials."""
    return float(np.mean([row.metrics.get("train_seconds", row.seconds) for row in rows])) if rows else None


def missing_notes(group: Group, cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for every cell that lacks seeds: which ones, and why."""
    notes = []
    for cell in cells:
        told: dict[str, list[str]] = {}
        for seed in cell.missing:
            why = group.absent.get(cell.name, {}).get(seed, "its metric was not kept")
            told.setdefault(" ".join(why.split())[:200], []).append(str(seed))
        parts = [f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)} ({why})" for why, seeds in told.items()]
        if parts:
            notes.append(f"{cell.name}: no result for {'; '.join(parts)}.")
    return notes

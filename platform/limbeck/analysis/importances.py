"""Which varied settings decide: the configurations that may speak of it, and the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.errors import Problem, UserError
from limbeck.report import Column, Table
from limbeck.store import Reader, SweepRow

FEWEST = 10


@dataclass(frozen=True)
class Tried:
    """Configurations that ran to their end with every seed."""

    sweep: SweepRow
    objective: str
    direction: str
    values: tuple[Mapping[str, Any], ...]
    scores: tuple[float, ...]
    """Mean objective over seeds."""
    stopped: int
    """Configurations left out because a seed was stopped early: their scores are from halfway."""
    failed: int
    """Configurations left out because a seed failed, has not ended, or measured no number."""


def tried(reader: Reader, name: str) -> Tried:
    """Return a sweep's complete configurations. UserError: nothing varies, or too few are complete to say anything."""
    sweep = reader.sweep(name)
    if sweep.kind not in ("search", "grid"):
        raise UserError(Problem(f"sweep {name}", "nothing varies in it; importances are of a search or a grid"))
    objective, direction = next(iter(sweep.objectives.items()))
    cells: dict[str, list[Any]] = {}
    for row in reader.trials(name, brief=True):
        cells.setdefault(row.cell, []).append(row)
    stopped = [rows for rows in cells.values() if any(row.state == "stopped" for row in rows)]
    ended = [rows for rows in cells.values() if all(row.state == "complete" for row in rows)]
    scored = [(rows, float(np.mean([row.objective.get(objective, np.nan) for row in rows]))) for rows in ended]
    known = [(rows[0].values, score) for rows, score in scored if np.isfinite(score)]
    if len(known) < FEWEST:
        what = f"{len(known)} configurations ran to their end; importances need {FEWEST} or more"
        raise UserError(Problem(f"sweep {name}", what))
    failed = len(cells) - len(stopped) - len(known)
    values, scores = zip(*known, strict=True)
    return Tried(sweep, objective, direction, values, scores, len(stopped), failed)


def importances_table(found: Tried, shares: Mapping[str, float], evaluator: str) -> Table:
    """Return the settings, most important first."""
    rows: Sequence[tuple[str, float]] = sorted(shares.items(), key=lambda item: -item[1])
    left_out = f"; {found.stopped} stopped early and {found.failed} unfinished are left out"
    caption = (
        f"{found.sweep.name}: what decides about {found.objective} ({found.direction}), {evaluator} over "
        f"{len(found.scores)} configurations that ran to their end{left_out}"
    )
    return Table((Column("setting"), Column("importance", kind="percent")), tuple(rows), caption)

"""The students worth reporting: for every task, method and size the configuration that retains most on selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import cells
import data
import plan_text
import words
from limbeck.compare import Interval
from limbeck.errors import UserError
from limbeck.store import SweepRow

_SAME = ["task", "method", "parameters", "layers"]
_GOAL = "metric:retention"
"""On the selection split, and measured of every trial: sweeps whose objectives differ are compared by it."""


@dataclass(frozen=True)
class Kept:
    """What a configuration keeps of its teacher on one test set."""

    interval: Interval
    seed_values: np.ndarray
    """(S,) retention of each seed."""
    told: str
    """What the interval is over."""


@dataclass(frozen=True)
class Student:
    """One configuration and its seeds."""

    sweep: SweepRow
    cell: str
    trials: tuple[str, ...]
    task: str
    method: str
    parameters: int
    size: float
    """Parameters without embeddings where they are known, else all: what the scaling curve runs over."""
    layers: int | None
    chosen_from: int
    """Configurations it is the best of."""
    kept: dict[str, Kept]
    """By test set; absent where nothing was measured."""

    @property
    def label(self) -> str:
        layers = "" if self.layers is None else f"{self.layers} layer{'s' if self.layers != 1 else ''}, "
        return f"{self.method} · {layers}{words.count(self.parameters)}"


def best_students(sweeps: Sequence[SweepRow]) -> list[Student]:
    """Return the configuration that retains most on selection for every task, method and size, small ones first."""
    parts = [part for place, sweep in enumerate(sweeps) if not (part := _measured(place, sweep)).empty]
    if not parts:
        return []
    every = pd.concat(parts, ignore_index=True)
    means = every.groupby([*_SAME, "place", "cell"], as_index=False, sort=False)
    means = means.agg(goal=("goal", "mean"), size=("size", "first"))
    groups = means.groupby(_SAME, sort=False)
    best = means.loc[groups["goal"].idxmax()].assign(chosen_from=groups.size().to_numpy())
    best = best.sort_values(["task", "parameters", "method"])
    kept = _kept(sweeps, best)
    return [_student(sweeps[row.place], row, kept.get((row.place, row.cell), {})) for row in best.itertuples()]


def _measured(place: int, sweep: SweepRow) -> pd.DataFrame:
    """Return the complete trials of a sweep with what tells students apart, from what varies or else from the base."""
    frame = data.frame(sweep)
    if _GOAL not in frame:
        return pd.DataFrame()
    done = frame[(frame["state"] == "complete") & frame["parameters"].notna() & frame[_GOAL].notna()]
    base = plan_text.base(sweep.plan)
    layers = _varied(done, ("value:student.layers",), plan_text.lookup(base, "student.layers"))
    size = "metric:parameters_non_embedding"
    return pd.DataFrame(
        {
            "place": place,
            "cell": done["cell"],
            "task": _varied(done, ("value:task", "value:task.name"), plan_text.named(base, "task") or sweep.task),
            "method": _varied(done, ("value:method", "value:method.name"), plan_text.named(base, "method") or "?"),
            "layers": pd.to_numeric(layers, errors="coerce").fillna(-1),
            "parameters": done["parameters"],
            "size": done[size].fillna(done["parameters"]) if size in done else done["parameters"],
            "goal": done[_GOAL],
        }
    )


def _varied(frame: pd.DataFrame, columns: Sequence[str], otherwise: object) -> pd.Series:
    """Return what the last of the columns says that says anything; of a whole table its name."""
    values = pd.Series([otherwise] * len(frame), index=frame.index, dtype=object)
    for column in columns:
        if column in frame:
            values = frame[column].astype(object).where(frame[column].notna(), values)
    return values.map(_name, na_action="ignore")


def _name(value: object) -> object:
    found = words.unfolded(value)
    return found.get("name", value) if isinstance(found, dict) else value


def _kept(sweeps: Sequence[SweepRow], best: pd.DataFrame) -> dict[tuple[int, str], dict[str, Kept]]:
    """Return (sweep, cell) -> split -> what is kept: the cells of a sweep and task are read together."""
    out: dict[tuple[int, str], dict[str, Kept]] = {}
    for (place, _), rows in best.groupby(["place", "task"], sort=False):
        sweep = sweeps[int(place)]
        for split in cells.test_splits(data.frame(sweep)):
            try:
                found = cells.scored(sweep, rows["cell"].tolist(), split)
            except UserError:
                # Not measured on this split, or the teacher is useless there: the page leaves the place empty.
                continue
            known = cells.retention_intervals(found)
            for cell in found.cells:
                if cell.name in known:
                    told = cells.told(found, known[cell.name])
                    kept = Kept(known[cell.name], cell.values(), told)
                    out.setdefault((int(place), cell.name), {})[split] = kept
    return out


def _student(sweep: SweepRow, row: Any, kept: dict[str, Kept]) -> Student:
    return Student(
        sweep=sweep,
        cell=str(row.cell),
        trials=tuple(cells.trials_of(data.frame(sweep), row.cell).values()),
        task=str(row.task),
        method=str(row.method),
        parameters=int(row.parameters),
        size=float(row.size),
        layers=int(row.layers) if row.layers >= 0 else None,
        chosen_from=int(row.chosen_from),
        kept=kept,
    )

"""The students worth reporting: for every task, method and size the configuration that did best on selection."""

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
from limbeck.store import SweepRow


@dataclass(frozen=True)
class Student:
    """One configuration, its seeds, and what it keeps of its teacher on every test set."""

    task: str
    method: str
    parameters: int
    size: float
    """Parameters without embeddings where they are known, else all: what the scaling curve runs over."""
    layers: int | None
    chosen_from: int
    """Configurations it is the best of."""
    runs: cells.Runs
    kept: dict[str, tuple[Interval | None, str]]
    """Split -> mean retention with its interval, and what that is over."""

    @property
    def label(self) -> str:
        layers = "" if self.layers is None else f"{self.layers} layer{'s' if self.layers != 1 else ''}, "
        return f"{self.method} · {layers}{words.count(self.parameters)}"


def settings(sweep: SweepRow, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the complete trials with their task, method and layers, from what varies or else from the base."""
    base = plan_text.base(sweep.plan)
    done = frame[(frame["state"] == "complete") & frame["parameters"].notna()]
    task = plan_text.named(base, "task") or sweep.task
    layers = plan_text.lookup(base, "student.layers")
    return done.assign(
        task=_varied(done, ("value:task.name", "value:task"), task),
        method=_varied(done, ("value:method.name", "value:method"), plan_text.named(base, "method") or "?"),
        layers=_varied(done, ("value:student.layers",), layers if isinstance(layers, int) else None),
    )


def _varied(frame: pd.DataFrame, columns: Sequence[str], otherwise: object) -> pd.Series:
    values = pd.Series([otherwise] * len(frame), index=frame.index, dtype=object)
    for column in columns:
        if column in frame:
            values = frame[column].astype(object).where(frame[column].notna(), values)
    return values


def best_students(sweeps: Sequence[SweepRow]) -> list[Student]:
    """Return the best configuration by the plan's objective for every task, method and size, small ones first."""
    parts = []
    for place, sweep in enumerate(sweeps):
        frame = data.frame(sweep)
        name, way = next(iter(sweep.objectives.items()), ("retention", "max"))
        column = f"objective:{name}"
        if column in frame and (frame["state"] == "complete").any():
            rows = settings(sweep, frame)
            sign = -1.0 if way == "min" else 1.0
            parts.append(rows.assign(place=place, goal=sign * rows[column], size=_sizes(rows)))
    if not parts:
        return []
    columns = ["place", "cell", "task", "method", "parameters", "layers", "size", "goal"]
    every = pd.concat([part[columns] for part in parts], ignore_index=True)
    every["layers"] = every["layers"].fillna(-1)
    means = every.groupby(["task", "method", "parameters", "layers", "place", "cell"], as_index=False, sort=False)
    means = means.agg(goal=("goal", "mean"), seeds=("goal", "size"), size=("size", "first"))
    groups = means.groupby(["task", "method", "parameters", "layers"], sort=False)
    counts = groups.size()
    best = means.loc[groups["goal"].idxmax()].sort_values(["parameters", "method"])
    return [_student(sweeps[int(row.place)], row, int(counts[_key(row)])) for row in best.itertuples()]


def _key(row: Any) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in ("task", "method", "parameters", "layers"))


def _sizes(rows: pd.DataFrame) -> pd.Series:
    column = "metric:parameters_non_embedding"
    return rows[column].fillna(rows["parameters"]) if column in rows else rows["parameters"]


def _student(sweep: SweepRow, row: Any, chosen_from: int) -> Student:
    frame = data.frame(sweep)
    runs = cells.runs_by_cell(sweep, frame[frame["cell"] == row.cell])[0]
    splits = cells.test_splits(frame) or ["test"]
    layers = int(row.layers)
    return Student(
        task=str(row.task),
        method=str(row.method),
        parameters=int(row.parameters),
        size=float(row.size),
        layers=None if layers < 0 else layers,
        chosen_from=chosen_from,
        runs=runs,
        kept={split: cells.retention_interval(runs, split) for split in splits},
    )


def seed_values(student: Student, split: str) -> np.ndarray:
    """Return each seed's retention on a split, (S,)."""
    found, _ = cells.retention_cells([student.runs], split)
    return found[0].values() if found[0].seeds else np.empty(0)

"""How retention grows with the student's size, the training rows or the updates: a line with its interval a method."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from limbeck.analysis import words
from limbeck.analysis.runs import check_budget, method_of, read_groups
from limbeck.compare import ScalingCurve, scaling_curve
from limbeck.errors import Problem, UserError
from limbeck.report import Column, Table
from limbeck.store import Reader, TrialRow

Axis = Literal["parameters", "parameters_non_embedding", "rows", "updates"]
AXES: tuple[Axis, ...] = get_args(Axis)
_FREE_BUDGET = ("rows", "updates")
"""Axes along which the budget grows by itself: more rows are more updates an epoch."""


@dataclass(frozen=True)
class Point:
    """One run."""

    sweep: str
    task: str
    method: str
    cell: str
    seed: int
    size: float
    retention: float
    seconds: float


@dataclass(frozen=True)
class Curve:
    """A method's runs on a task, and the line through them."""

    task: str
    method: str
    points: tuple[Point, ...]
    line: ScalingCurve | None
    """None below three runs or two sizes."""

    @property
    def sizes(self) -> list[float]:
        """The different sizes, small ones first."""
        return sorted({point.size for point in self.points})


@dataclass(frozen=True)
class Scaling:
    """The curves of one or more sweeps."""

    axis: Axis
    split: str
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()
    """The equal budget of a task's runs, where the axis leaves it equal."""


def scaling(reader: Reader, names: Sequence[str], axis: Axis = "parameters", split: str = "test") -> Scaling:
    """Fit retention against log10 of a size over all complete runs of the sweeps, a curve for each task and method.

    Every seed of every configuration is a point: that of a search flatters nobody, as none is chosen. UserError: by
    parameters, runs of a task that were not trained for the same updates; nothing complete; sizes that are not known.
    """
    points: list[Point] = []
    budgets: dict[str, dict[str, str]] = {}
    for name in names:
        _, _, groups = read_groups(reader, name)
        for group in groups:
            if axis not in _FREE_BUDGET:
                budgets.setdefault(group.task, {})[name] = check_budget(group)
            for cell, rows in group.complete.items():
                points += [p for row in rows.values() if (p := _point(row, group.task, cell, axis, split)) is not None]
    _refuse_mixed(budgets)
    if not points:
        raise UserError(
            Problem(", ".join(names), f"no complete run has both its {axis} and its retention on '{split}'")
        )
    kinds = dict.fromkeys((point.task, point.method) for point in points)
    curves = [
        _curve(task, method, [p for p in points if (p.task, p.method) == (task, method)]) for task, method in kinds
    ]
    notes = (f"{task}: {next(iter(told.values()))} a run." for task, told in budgets.items() if any(told.values()))
    return Scaling(axis, split, tuple(curves), tuple(notes))


def _refuse_mixed(budgets: dict[str, dict[str, str]]) -> None:
    problems = [
        Problem(task, f"sweeps of mixed fidelity: {', '.join(f'{name} {told}' for name, told in by_sweep.items())}")
        for task, by_sweep in budgets.items()
        if len(set(by_sweep.values())) > 1
    ]
    if problems:
        raise UserError(*problems)


def _point(row: TrialRow, task: str, cell: str, axis: Axis, split: str) -> Point | None:
    kept = row.metrics.get(f"{split}/retention", row.retention if split == "test" else None)
    size = _SIZES[axis](row)
    if kept is None or not np.isfinite(kept) or size is None or not size > 0:
        return None
    method = method_of(row) or "?"
    seconds = row.metrics.get("train_seconds", row.seconds)
    return Point(row.sweep, task, method, cell, row.seed, float(size), float(kept), float(seconds))


def _rows_seen(row: TrialRow) -> float | None:
    """Return the training rows: as the plan limits them, else from the updates and epochs that were counted."""
    training = row.spec.get("training", {})
    if training.get("rows"):
        return float(training["rows"])
    epochs, batch = row.metrics.get("epoch"), training.get("batch_size")
    return round(row.updates * batch / epochs) if epochs and batch else None


_SIZES: dict[Axis, Callable[[TrialRow], float | None]] = {
    "parameters": lambda row: row.parameters,
    "parameters_non_embedding": lambda row: row.metrics.get("parameters_non_embedding"),
    "rows": _rows_seen,
    "updates": lambda row: row.updates,
}


def _curve(task: str, method: str, points: Sequence[Point]) -> Curve:
    sizes, values = (np.array(column) for column in zip(*((p.size, p.retention) for p in points), strict=True))
    enough = len(points) >= 3 and len(np.unique(sizes)) >= 2
    return Curve(task, method, tuple(points), scaling_curve(sizes, values) if enough else None)


def curves_table(found: Scaling) -> Table:
    """Return the fitted lines."""
    columns = (
        Column("task"),
        Column("method"),
        Column("runs", kind="number"),
        Column("smallest", kind="count"),
        Column("largest", kind="count"),
        Column("slope", "gain per ×10", "percent", signed=True, best="max"),
        Column("slope_low", "low", "percent", signed=True),
        Column("slope_high", "high", "percent", signed=True),
        Column("r_squared", "R²", "number", digits=2),
        Column("lack_of_fit_p", "p of misfit", "number", digits=3),
    )
    rows = tuple((c.task, c.method, len(c.points), c.sizes[0], c.sizes[-1], *_line(c.line)) for c in found.curves)
    caption = (
        f"Retention ({found.split}) against log10 of {found.axis}: least-squares line over runs, 95 % interval of its "
        "slope; a small p of misfit says that no straight line fits."
    )
    short = ", ".join(f"{c.method} on {c.task}" for c in found.curves if c.line is None)
    notes = [f"No line, which needs three runs at two sizes or more: {short}."] if short else []
    return Table(columns, rows, caption, (*found.notes, *notes))


def _line(line: ScalingCurve | None) -> tuple[float | None, ...]:
    if line is None:
        return (None,) * 5
    return line.slope, line.slope_low, line.slope_high, line.r_squared, line.lack_of_fit_p


def points_table(found: Scaling) -> Table:
    """Return the mean at every size beside the line and the interval of the line's mean."""
    columns = (
        Column("task"),
        Column("method"),
        Column("size", found.axis, "count"),
        Column("runs", kind="number"),
        Column("retention", kind="percent", best="max"),
        Column("fit", "line", "percent"),
        Column("fit_interval", "95 % interval"),
        Column("seconds", "training", "duration"),
    )
    rows = tuple(row for curve in found.curves for row in _sizes_of(curve))
    return Table(columns, rows, f"Retention ({found.split}) by {found.axis}: means over runs beside the fitted line")


def _sizes_of(curve: Curve) -> Iterable[tuple[object, ...]]:
    for size in curve.sizes:
        some = [point for point in curve.points if point.size == size]
        fit, low, high = (None,) * 3 if curve.line is None else (float(x[0]) for x in curve.line.band(np.array([size])))
        means = [float(np.mean([getattr(point, name) for point in some])) for name in ("retention", "seconds")]
        yield (
            *(curve.task, curve.method, size, len(some), means[0]),
            *(fit, words.percent_interval(low, high), means[1]),
        )

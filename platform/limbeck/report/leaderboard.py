"""Which trial is best, and how far the sweeps are."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.report.table import Column, Kind, Table, show
from limbeck.store import Reader, SweepRow, TrialRow, TrialState
from limbeck.store.values import plain

_ORDER: dict[TrialState, int] = {"complete": 0, "running": 1, "stopped": 2, "waiting": 3, "failed": 4}
_SHARES = ("retention", "accuracy", "agreement", "f1", "f1_macro", "accuracy_f1", "ece")
"""Last words of metrics that are shares of one, shown as percent."""


@dataclass(frozen=True)
class LeaderboardRow:
    """A trial's place among the others."""

    trial: str
    number: int
    cell: str
    state: TrialState
    seed: int
    values: dict[str, Any]
    metrics: dict[str, float]
    objective: dict[str, float]
    """What the plan asks to make large or small, on the selection split; NaN or absent where unknown."""
    retention: float | None
    """Held-out test retention; None until the trial ends."""
    parameters: int | None
    seconds: float
    error: str | None
    front: bool
    """No complete trial is better in one objective and as good in all others."""


def leaderboard(reader: Reader, sweep: str) -> list[LeaderboardRow]:
    """Return a sweep's trials, best first by the plan's objective; see `ranked`."""
    return ranked(reader.trials(sweep, brief=True), reader.sweep(sweep).objectives)


def ranked(trials: Sequence[TrialRow], objectives: Mapping[str, str]) -> list[LeaderboardRow]:
    """Return trials in order: complete, running, stopped, waiting, failed; in each by the first objective.

    Stopped trials come after complete ones whatever they scored: theirs is a value from halfway, and they left no
    student. With two objectives or more the Pareto front of the complete trials leads. Trials without a number follow
    those with one; ties keep the order in which the trials were made.
    """
    complete = [t for t in trials if t.state == "complete"]
    leading = {complete[i].trial for i in _front(_costs(complete, objectives))}

    def place(trial: TrialRow) -> tuple[int, bool, float, int, str]:
        cost = next(iter(_cost(trial, objectives)), math.inf)
        behind = len(objectives) > 1 and trial.trial not in leading
        return _ORDER[trial.state], behind, cost, trial.number, trial.trial

    return [_row(t, t.trial in leading) for t in sorted(trials, key=place)]


def _cost(trial: TrialRow, objectives: Mapping[str, str]) -> list[float]:
    """Return the objectives as costs: less is better, what is missing or no number costs infinitely much."""
    values = [(trial.objective.get(name, math.nan), way) for name, way in objectives.items()]
    return [math.inf if math.isnan(v) else (v if way == "min" else -v) for v, way in values]


def _costs(trials: Sequence[TrialRow], objectives: Mapping[str, str]) -> np.ndarray[Any, Any]:
    return np.array([_cost(t, objectives) for t in trials], dtype=np.float64).reshape(len(trials), len(objectives))


def _front(costs: np.ndarray[Any, Any]) -> list[int]:
    """Return the rows of `costs` (N, objectives) that no other row dominates; rows with an infinity never lead."""
    found: list[int] = []
    # In lexicographic order a row can be dominated by earlier ones only, and then by one already found.
    for i in np.lexsort(costs.T[::-1]) if costs.size else ():
        if not np.isfinite(costs[i]).all():
            continue
        front = costs[found]
        if not ((front <= costs[i]).all(axis=1) & (front < costs[i]).any(axis=1)).any():
            found.append(int(i))
    return found


def _row(trial: TrialRow, front: bool) -> LeaderboardRow:
    return LeaderboardRow(
        trial=trial.trial,
        number=trial.number,
        cell=trial.cell,
        state=trial.state,
        seed=trial.seed,
        values=trial.values,
        metrics=trial.metrics,
        objective=trial.objective,
        retention=trial.retention,
        parameters=trial.parameters,
        seconds=trial.seconds,
        error=trial.error,
        front=front,
    )


def leaderboard_json(rows: Sequence[LeaderboardRow], confirmed: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the leaderboard as JSON in the form scripts rely on; numbers that are not finite are null.

    `confirmed` has, by cell, what its runs on fresh seeds found; where there were none it is null.
    """
    fields = ("trial", "state", "seed", "values", "metrics", "retention", "parameters", "seconds", "error")
    told = [{name: getattr(row, name) for name in fields} | {"confirmed": confirmed.get(row.cell)} for row in rows]
    return json.dumps(plain(told), indent=2, allow_nan=False)


def leaderboard_table(rows: Sequence[LeaderboardRow], sweep: SweepRow) -> Table:
    """Return the leaderboard for people: only values that vary, only columns that say something, errors as notes."""
    columns: list[tuple[Column, list[Any]]] = [
        (Column("rank", "#", "number"), list(range(1, len(rows) + 1))),
        (Column("trial"), [row.trial for row in rows]),
        (Column("state"), [row.state for row in rows]),
    ]
    if _vary(row.seed for row in rows):
        columns.append((Column("seed", kind="number"), [row.seed for row in rows]))
    # A cell's name says what its values, whole sections of the plan, would take a screen to say.
    ablation = sweep.kind == "ablation"
    columns += [(Column("cell", "configuration"), [row.cell for row in rows])] if ablation else _values(rows)
    for name in sweep.objectives:
        title = "selection retention" if name == "retention" else name
        columns.append((Column(f"objective:{name}", title, _kind(name)), [row.objective.get(name) for row in rows]))
    if len(sweep.objectives) > 1:
        columns.append((Column("front", "Pareto front"), ["yes" if row.front else "" for row in rows]))
    last: list[tuple[Column, list[Any]]] = [
        (Column("retention", "test retention", "percent"), [row.retention for row in rows]),
        (Column("parameters", kind="count"), [row.parameters for row in rows]),
        (Column("seconds", "time", "duration"), [row.seconds or None for row in rows]),
    ]
    columns += [(column, values) for column, values in last if any(value is not None for value in values)]
    ways = ", ".join(f"{name} ({way})" for name, way in sweep.objectives.items())
    cells = tuple(zip(*(values for _, values in columns), strict=True))
    caption = f"{sweep.name}: {sweep.task}, best first by {ways}"
    told = [unconfirmed(sweep)] if chosen(sweep) and any(row.state == "complete" for row in rows) else []
    return Table(tuple(column for column, _ in columns), cells, caption, (*_errors(rows), *told))


def chosen(sweep: SweepRow) -> bool:
    """Say whether a sweep's best was picked among many, so that its number flatters."""
    return sweep.kind in ("search", "grid")


def unconfirmed(sweep: SweepRow) -> str:
    """Return the note that stands below such numbers until they are confirmed."""
    return f"Unconfirmed: the best of many flatters; see `limbeck confirm {sweep.name}`."


def _errors(rows: Sequence[LeaderboardRow], most: int = 5) -> tuple[str, ...]:
    failed = [row for row in rows if row.error]
    notes = [f"{row.trial} {row.state}: {' '.join(str(row.error).split())[:300]}" for row in failed[:most]]
    return (*notes, f"… and {len(failed) - most} more") if len(failed) > most else tuple(notes)


def _values(rows: Sequence[LeaderboardRow]) -> list[tuple[Column, list[Any]]]:
    """Return a column for each path whose value differs between rows, titled by its last word where that is clear."""
    paths = list(dict.fromkeys(path for row in rows for path in row.values))
    columns = {path: [row.values.get(path) for row in rows] for path in paths}
    columns = {path: values for path, values in columns.items() if len(rows) == 1 or _vary(values)}
    words = [path.rpartition(".")[2] for path in columns]
    out = []
    for path, values in columns.items():
        word = path.rpartition(".")[2]
        numeric = all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in values)
        title = word if words.count(word) == 1 else path
        out.append((Column(f"value:{path}", title, "number" if numeric else "text"), values))
    return out


def _vary(values: Any) -> bool:
    return len({json.dumps(value, sort_keys=True, default=str) for value in values}) > 1


def _kind(metric: str) -> Kind:
    return "percent" if metric.rpartition("/")[2] in _SHARES else "number"


def sweeps_json(reader: Reader) -> str:
    """Return all sweeps, newest first, as JSON in the form scripts rely on; `best` is the best first objective."""
    rows = [
        {
            "name": sweep.name,
            "state": sweep.state,
            "plan_kind": sweep.kind,
            "task": sweep.task,
            "trials": sweep.trials,
            "finished": sweep.finished,
            "failed": sweep.failed,
            "best": plain(sweep.best),
        }
        for sweep in reader.sweeps()
    ]
    return json.dumps(rows, indent=2, allow_nan=False)


def sweeps_table(sweeps: Sequence[SweepRow]) -> Table:
    """Return the sweeps for people."""
    columns = (
        Column("name", "sweep"),
        Column("state"),
        Column("plan_kind", "kind"),
        Column("task"),
        Column("trials", kind="number"),
        Column("finished", kind="number"),
        Column("failed", kind="number"),
        Column("objective"),
        Column("best"),
        Column("created", "started (UTC)"),
    )
    rows = []
    for s in sweeps:
        name = next(iter(s.objectives), "")
        best = show(s.best, Column(name, kind=_kind(name)))
        counts = (s.trials, s.finished, s.failed)
        rows.append((s.name, s.state, s.kind, s.task, *counts, name, best, f"{s.created:%Y-%m-%d %H:%M}"))
    return Table(columns, tuple(rows))

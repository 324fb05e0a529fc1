"""Retention as tables: every number for scripts, and what a reader of a paper needs."""

import math
from collections.abc import Sequence
from typing import Any

from limbeck.analysis import words
from limbeck.analysis.retention import Kept, Retention
from limbeck.compare import Interval
from limbeck.report import Column, Table, chosen, unconfirmed

_MEASURES = ("value", "retention", "gap_closed", "agreement", "kl", "ece")
_COSTS = (
    "parameters",
    "parameters_non_embedding",
    "disk_bytes",
    "latency_ms_batch1",
    "latency_ms_batch32",
    "train_seconds",
)


def raw_retention(found: Retention) -> Table:
    """Return every number, a row a cell and test set; measures that are no number are null.

    `class_0` is the first of the row's `classes`.
    """
    classes = _classes(found.rows)
    names = ["task", "cell", "method", "split", "n_seeds", "missing_seeds", "metric", "teacher", "classes"]
    for measure in (*_MEASURES, *classes):
        key = measure.replace(" ", "_")
        names += [key, f"{key}_low", f"{key}_high"]
    rows = []
    for kept in found.rows:
        row: list[Any] = [kept.task, kept.cell, kept.method, kept.split, _seeds(kept), list(kept.missing_seeds)]
        row += [kept.metric or None, kept.teacher, list(found.classes.get(kept.task, ()))]
        for measure in (*_MEASURES, *classes):
            one = kept.found.get(measure)
            row += [None] * 3 if one is None else [one.mean, one.low, one.high]
        row += [getattr(kept.cost, name) if kept.cost else None for name in _COSTS]
        rows.append(tuple(row))
    return Table(tuple(map(Column, (*names, *_COSTS))), tuple(rows))


def retention_tables(found: Retention) -> list[Table]:
    """Return a table for each task and test set, best retention in bold, and one for each number over all tasks.

    Each of a task is followed by one of the other measures' intervals, and by one of its classes.
    """
    places = dict.fromkeys((kept.task, kept.split) for kept in found.rows)
    tables = []
    for place in places:
        rows = [kept for kept in found.rows if (kept.task, kept.split) == place]
        tables += [_table(found, rows), *_interval_tables(found, rows)]
        tables += [_class_table(found, rows)] if _classes(rows) else []
    return tables


def _table(found: Retention, rows: Sequence[Kept]) -> Table:
    first = rows[0]
    gap, several = any("gap_closed" in k.found for k in rows), bool(first.metric)
    columns: list[tuple[Column, list[Any]]] = [
        (Column("cell", "configuration"), [k.cell for k in rows]),
        (Column("seeds"), [_of_planned(k) for k in rows]),
    ]
    if several:
        columns.append((Column("value", first.metric, "percent"), [_mean(k, "value") for k in rows]))
    columns.append((Column("retention", kind="percent", best="max"), [_mean(k, "retention") for k in rows]))
    interval = [_ends(k.found.get("retention")) for k in rows]
    columns.append((Column("interval", f"{100 * found.level:g} % interval"), interval))
    if gap:
        columns.append(
            (Column("gap_closed", "gap closed", "percent", best="max"), [_mean(k, "gap_closed") for k in rows])
        )
    if several:
        columns += _further(rows)
    values = tuple(zip(*(column for _, column in columns), strict=True))
    notes = [note for note in found.notes if note.startswith(f"{first.task} ({first.split}): ")]
    notes += [unconfirmed(found.sweep)] if chosen(found.sweep) else []
    return Table(tuple(column for column, _ in columns), values, _caption(found, first), tuple(notes))


def _interval_tables(found: Retention, rows: Sequence[Kept]) -> list[Table]:
    """Return the further measures with their intervals, which would make one table too wide; none where nothing is."""
    measures = {"gap_closed": "gap closed, %", "agreement": "agreement, %", "kl": "KL", "ece": "ECE, %"}
    there = [name for name in measures if any(name in kept.found for kept in rows)]
    if not there:
        return []
    columns = (Column("cell", "configuration"), *(Column(name, measures[name]) for name in there))
    values = [(k.cell, *(_with_ends(k.found.get(name), percent=name != "kl") for name in there)) for k in rows]
    return [Table(columns, tuple(values), f"The other measures with their intervals: {_caption(found, rows[0])}")]


def _class_table(found: Retention, rows: Sequence[Kept]) -> Table:
    """Return each configuration's recall of each class over the teacher's; the fewer of the two are the columns."""
    first, classes = rows[0], _classes(rows)
    names = {key: _called(key, found.classes.get(first.task, ())) for key in classes}
    if len(classes) > len(rows):
        columns = (Column("class"), *(Column(f"cell:{k.cell}", k.cell) for k in rows))
        values = [(names[key], *(_with_ends(k.found.get(key)) for k in rows)) for key in classes]
    else:
        columns = (Column("cell", "configuration"), *(Column(key, names[key]) for key in classes))
        values = [(k.cell, *(_with_ends(k.found.get(key)) for key in classes)) for k in rows]
    caption = f"Recall of each class in percent of the teacher's, with its interval: {_caption(found, first)}"
    return Table(columns, tuple(values), caption)


def _further(rows: Sequence[Kept]) -> list[tuple[Column, list[Any]]]:
    measured = (
        Column("agreement", kind="percent", best="max"),
        Column("kl", "KL", "number", digits=3, best="min"),
        Column("ece", "ECE", "percent", best="min"),
    )
    costs = (
        Column("parameters", kind="count"),
        Column("disk_bytes", "on disk", "bytes"),
        Column("latency_ms_batch1", "ms, batch 1", "number", digits=1),
        Column("latency_ms_batch32", "ms, batch 32", "number", digits=1),
        Column("train_seconds", "training", "duration"),
    )
    found = [(column, [_mean(kept, column.key) for kept in rows]) for column in measured]
    found += [(column, [getattr(kept.cost, column.key) if kept.cost else None for kept in rows]) for column in costs]
    return [(column, values) for column, values in found if any(value is not None for value in values)]


def _caption(found: Retention, first: Kept) -> str:
    seeds = max(_seeds(k) for k in found.rows if (k.task, k.split) == (first.task, first.split))
    n = f"n = {words.many(seeds, 'seed')}"
    examples = found.examples.get((first.task, first.split))
    over = words.resampled(seeds, by_example=bool(examples) or not first.metric)
    n += f" × {words.many(examples, 'test example')}" if examples else ""
    teacher = "" if first.teacher is None else f"; teacher's {first.metric} {words.percent(first.teacher)} %"
    level = f"{100 * found.level:g} %"
    return f"{found.sweep.name} on {first.task} ({first.split}){teacher}; {n}; {level} bootstrap intervals over {over}."


def _classes(rows: Sequence[Kept]) -> list[str]:
    names = {name for kept in rows for name in kept.found if name.startswith("class ")}
    return sorted(names, key=lambda name: int(name.split()[1]))


def _called(key: str, names: Sequence[str]) -> str:
    """Return what a class is called: `class 1` is the second of the names."""
    place = int(key.split()[1])
    return names[place] if place < len(names) else key


def _seeds(kept: Kept) -> int:
    return max((one.seeds for one in kept.found.values()), default=0)


def _of_planned(kept: Kept) -> str:
    there = _seeds(kept)
    return f"{there} of {there + len(kept.missing_seeds)}" if kept.missing_seeds else str(there)


def _mean(kept: Kept, measure: str) -> float | None:
    one = kept.found.get(measure)
    return None if one is None or math.isnan(one.mean) else one.mean


def _with_ends(one: Interval | None, *, percent: bool = True) -> str | None:
    """Return `93.4 (91.0 to 95.9)`."""
    if one is None or math.isnan(one.mean):
        return None
    mean, low, high = ((words.percent(x) if percent else f"{x:.3f}") for x in (one.mean, one.low, one.high))
    return mean if math.isnan(one.low) else f"{mean} ({low} to {high})"


def _ends(one: Interval | None) -> str | None:
    return None if one is None else words.percent_interval(one.low, one.high)

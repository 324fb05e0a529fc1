"""What students keep of their teachers, task by task and over tasks, beside what they cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from limbeck.analysis.evidence import metric_cells, read_evidence, retention_defined, splits_of, teacher_level
from limbeck.analysis.intervals import intervals
from limbeck.analysis.runs import Group, mean_seconds, method_of, missing_notes, read_groups
from limbeck.analysis.samples import (
    MEASURES,
    Samples,
    Sheet,
    samples_of,
    samples_over_tasks,
    with_retention,
)
from limbeck.compare import Interval, Resampling
from limbeck.store import Reader, SweepRow, TrialRow

BASELINE_METHOD = "finetune"
_NEVER_NEGATIVE = ("kl", "ece")


@dataclass(frozen=True)
class Cost:
    """What a cell's students weigh and took: means over runs, None where it was not measured."""

    parameters: int | None
    parameters_non_embedding: float | None
    disk_bytes: float | None
    latency_ms_batch1: float | None
    latency_ms_batch32: float | None
    train_seconds: float | None


@dataclass(frozen=True)
class Kept:
    """A cell on one test set."""

    task: str
    """Or what was done over all tasks."""
    cell: str
    method: str | None
    split: str
    metric: str
    """Empty over all tasks."""
    teacher: float | None
    """The teacher's metric."""
    missing_seeds: tuple[int, ...]
    found: Mapping[str, Interval]
    """By measure, as `samples.samples_of` names them; absent where it is no number."""
    cost: Cost | None


@dataclass(frozen=True)
class Retention:
    """A sweep's cells on all test sets asked for."""

    sweep: SweepRow
    rows: tuple[Kept, ...]
    level: float
    examples: Mapping[tuple[str, str], int | None]
    """Task and split -> test examples; None where runs are known by one number each."""
    notes: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Task -> what its classes are called, where that is known."""


def retention(
    reader: Reader, name: str, rng: np.random.Generator, split: str | None = None, how: Resampling | None = None
) -> Retention:
    """Measure what every cell of a sweep keeps, on one split or on all it was tested on. UserError as `read_groups`.

    Over several tasks there are two more rows a split: Σ students / Σ teachers, and the mean of the ratios; tasks where
    the teacher's metric is not above zero are left out and named.
    """
    how = how or Resampling()
    sweep, _, groups = read_groups(reader, name)
    sheets = [sheet for group in groups for sheet in _sheets(reader, name, group, split)]
    rows: list[Kept] = []
    for sheet in sheets:
        rows += _rows(sheet, _cells(samples_of(sheet), rng, how))
    for at, some in with_retention(sheets).items():
        for title, samples in samples_over_tasks(some).items():
            rows += _task_rows(title, at, some, _cells(samples, rng, how))
    examples = {(s.group.task, s.evidence.split): s.evidence.examples for s in sheets}
    notes = tuple(note for sheet in sheets for note in _notes(sheet))
    classes = {group.task: reader.classes(name, group.rows[0].trial) for group in groups if group.rows}
    return Retention(sweep, tuple(rows), how.level, examples, notes, classes)


def _sheets(reader: Reader, name: str, group: Group, split: str | None) -> list[Sheet]:
    splits = [split] if split else splits_of(group)
    found = [read_evidence(reader, name, group, at, MEASURES) for at in splits]
    return [Sheet(group, evidence, _baseline(group)) for evidence in found]


def _baseline(group: Group) -> str | None:
    """Return the one cell that is plain fine-tuning."""
    found = [cell for cell, rows in group.complete.items() if _method(rows.values()) == BASELINE_METHOD]
    return found[0] if len(found) == 1 else None


def _method(rows: Iterable[TrialRow]) -> str | None:
    return next(map(method_of, rows), None)


def _cells(samples: Samples, rng: np.random.Generator, how: Resampling) -> dict[str, dict[str, Interval]]:
    """Return cell -> measure -> its interval."""
    out: dict[str, dict[str, Interval]] = {}
    for (cell, measure), found in intervals(samples, rng, how).items():
        low = max(0.0, found.low) if measure in _NEVER_NEGATIVE else found.low
        out.setdefault(cell, {})[measure] = replace(found, low=low)
    return out


def _rows(sheet: Sheet, found: Mapping[str, Mapping[str, Interval]]) -> list[Kept]:
    group, evidence = sheet.group, sheet.evidence
    return [
        Kept(
            task=group.task,
            cell=cell,
            method=_method(rows.values()),
            split=evidence.split,
            metric=evidence.metric,
            teacher=teacher_level(evidence),
            missing_seeds=tuple(seed for seed in group.seeds if (cell, seed) not in evidence.students),
            found=found.get(cell, {}),
            cost=cost_of(list(rows.values())) if rows else None,
        )
        for cell, rows in group.complete.items()
    ]


def _task_rows(
    title: str, split: str, sheets: Sequence[Sheet], found: Mapping[str, Mapping[str, Interval]]
) -> list[Kept]:
    seeds = {seed for sheet in sheets for seed in sheet.group.seeds}
    out = []
    for cell, rows in sheets[0].group.complete.items():
        there = {seed for seed in seeds if all((cell, seed) in sheet.evidence.students for sheet in sheets)}
        missing = tuple(sorted(seeds - there))
        out.append(Kept(title, cell, _method(rows.values()), split, "", None, missing, found.get(cell, {}), None))
    return out


def cost_of(rows: Sequence[TrialRow]) -> Cost:
    """Return what a cell's students weigh and took."""

    def mean(name: str) -> float | None:
        known = [row.metrics[name] for row in rows if np.isfinite(row.metrics.get(name, np.nan))]
        return float(np.mean(known)) if known else None

    sizes = [size for row in rows if (size := _disk_bytes(row)) is not None]
    return Cost(
        parameters=next((row.parameters for row in rows if row.parameters is not None), None),
        parameters_non_embedding=mean("parameters_non_embedding"),
        disk_bytes=float(np.mean(sizes)) if sizes else None,
        latency_ms_batch1=mean("latency_ms/batch1/p50"),
        latency_ms_batch32=mean("latency_ms/batch32/p50"),
        train_seconds=mean_seconds(rows),
    )


def _disk_bytes(row: TrialRow) -> float | None:
    """Return the size of the student's files: as the trial reported it, else as they lie in its folder."""
    if "disk_bytes" in row.metrics:
        return row.metrics["disk_bytes"]
    files = [path for path in (Path(row.folder) / "student").glob("*") if path.is_file()] if row.folder else []
    return float(sum(path.stat().st_size for path in files)) if files else None


def _notes(sheet: Sheet) -> list[str]:
    evidence, where = sheet.evidence, f"{sheet.group.task} ({sheet.evidence.split})"
    notes = [
        f"{where}: {note}"
        for note in (*evidence.notes, *missing_notes(sheet.group, metric_cells(sheet.group, evidence)))
    ]
    if not retention_defined(evidence):
        level = f"the teacher's {evidence.metric} is {teacher_level(evidence):.3g}, not above zero"
        notes.append(f"{where}: {level}: retention is no number.")
    return notes

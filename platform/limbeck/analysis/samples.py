"""What is measured of a student on a test set, as scores to resample: by cell and measure, on a task and over tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.analysis.evidence import Evidence, Run, retention_cells, retention_defined
from limbeck.analysis.runs import Group
from limbeck.analysis.scores import (
    Answer,
    Array,
    agreement_scores,
    calibration_scores,
    divergence_scores,
    gap_closed_scores,
    retained,
    retained_over_tasks,
)

RATIO_OF_MEANS, MEAN_OF_RATIOS = "all tasks, ratio of means", "all tasks, mean of ratios"
REPORTED = ("agreement", "kl", "ece")
"""Measures that a trial reports of itself, too, as <split>/<measure>."""
Key = tuple[str, str]
"""Cell, measure."""
Samples = dict[Key, tuple[Array, ...]]


def _right(answer: Answer) -> Array | None:
    if answer.labels.dtype.kind != "i":
        return None
    return np.asarray(answer.logits.argmax(axis=1) == answer.labels, np.int8)


def _teacher_right(answer: Answer) -> Array | None:
    return None if answer.teacher is None else _right(answer._replace(logits=answer.teacher))


MEASURES: dict[str, Callable[[Answer], Array | None]] = {
    "agreement": agreement_scores,
    "kl": divergence_scores,
    "ece": lambda answer: calibration_scores(answer.logits, answer.labels),
    "right": _right,
    "teacher_right": _teacher_right,
}


@dataclass(frozen=True)
class Sheet:
    """A task on one split."""

    group: Group
    evidence: Evidence
    baseline: str | None
    """The cell that the gap closed is measured from."""


def samples_of(sheet: Sheet) -> Samples:
    """Return the (S, N) scores of everything that is known by example, and (S, 1) of the rest.

    Measures: value (the metric), retention, gap_closed, agreement, kl, ece, and `class 0`, … for the retention of each
    class's recall. What is no number is absent.
    """
    group, evidence = sheet.group, sheet.evidence
    kept = retention_cells(group, evidence) or []
    out: Samples = {(cell.name, "retention"): cell.scores for cell in kept if cell.seeds}
    for cell in group.complete:
        runs = [(cell, seed) for seed in group.seeds if (cell, seed) in evidence.students]
        if not runs:
            continue
        out[cell, "value"] = (_stack(evidence.students, runs),)
        for name in REPORTED:
            known = evidence.more[name] if evidence.by_example else _reported(group, evidence.split, name)
            if all(run in known for run in runs):
                out[cell, name] = (_stack(known, runs),)
        closed = _gap_closed(sheet, runs)
        if closed is not None:
            out[cell, "gap_closed"] = (closed,)
        for label, scores in enumerate(_classes(evidence, runs)):
            if scores is not None:
                out[cell, f"class {label}"] = (scores,)
    return out


def samples_over_tasks(sheets: Sequence[Sheet]) -> dict[str, Samples]:
    """Return retention over several tasks, both ways; a cell's seed must have a result on all of them."""
    first = sheets[0].group
    students = [sheet.evidence.students for sheet in sheets]
    teachers = [sheet.evidence.teachers for sheet in sheets]
    out: dict[str, Samples] = {RATIO_OF_MEANS: {}, MEAN_OF_RATIOS: {}}
    for cell in first.complete:
        means: list[Sequence[Array]] = []
        ratios: list[Sequence[Array]] = []
        for run in [(cell, seed) for seed in first.seeds if all((cell, seed) in known for known in students)]:
            mine, theirs = [known[run] for known in students], [known[run] for known in teachers]
            means.append(retained_over_tasks(mine, theirs) or [])
            ratios.append([k for pair in zip(mine, theirs, strict=True) if (k := retained(*pair)) is not None])
        if means:
            out[RATIO_OF_MEANS][cell, "retention"] = _by_task(means)
            out[MEAN_OF_RATIOS][cell, "retention"] = _by_task(ratios)
    return out


def with_retention(sheets: Sequence[Sheet]) -> dict[str, list[Sheet]]:
    """Return, of every split that was tested on two tasks or more, those whose teachers' metric is above zero."""
    out: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        if retention_defined(sheet.evidence):
            out.setdefault(sheet.evidence.split, []).append(sheet)
    return {split: some for split, some in out.items() if len(some) > 1}


def _stack(scores: Mapping[Run, Array], runs: Sequence[Run]) -> Array:
    return np.stack([scores[run] for run in runs])


def _by_task(runs: Sequence[Sequence[Array]]) -> tuple[Array, ...]:
    return tuple(np.stack(task) for task in zip(*runs, strict=True))


def _reported(group: Group, split: str, name: str) -> dict[Run, Array]:
    """Return what trials say of themselves, (1,) each."""
    values = {
        (cell, seed): row.metrics.get(f"{split}/{name}", np.nan)
        for cell, rows in group.complete.items()
        for seed, row in rows.items()
    }
    return {run: np.array([value]) for run, value in values.items() if np.isfinite(value)}


def _gap_closed(sheet: Sheet, runs: Sequence[Run]) -> Array | None:
    """Pair every run with the baseline's of the same seed; None without a baseline or pairs."""
    students, base = sheet.evidence.students, sheet.baseline
    if base is None or runs[0][0] == base:
        return None
    paired = [run for run in runs if (base, run[1]) in students]
    if not paired:
        return None
    ours = _stack(students, paired).astype(np.float64)
    theirs = _stack(students, [(base, seed) for _, seed in paired]).astype(np.float64)
    return gap_closed_scores(ours, theirs, sheet.evidence.teachers[paired[0]].astype(np.float64))


def _classes(evidence: Evidence, runs: Sequence[Run]) -> list[Array | None]:
    """Return for each class the (S, N_c) scores whose mean is the retention of its recall; None where it is none."""
    right, teacher = evidence.more.get("right", {}), evidence.more.get("teacher_right", {})
    if evidence.labels is None or any(run not in right or run not in teacher for run in runs):
        return []
    out: list[Array | None] = []
    for label in range(int(evidence.labels.max()) + 1):
        mine = evidence.labels == label
        kept = [retained(right[run][mine], teacher[run][mine]) for run in runs] if mine.any() else []
        known = [scores for scores in kept if scores is not None]
        out.append(np.stack(known) if len(known) == len(runs) else None)
    return out

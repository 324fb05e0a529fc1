"""Stored predictions and metrics as scores of every run: by test example where that is known, else one number a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.analysis.runs import Group
from limbeck.analysis.scores import Answer, Array, metric_scores, retained, teacher_scores
from limbeck.compare import Cell, make_cell
from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.store import Reader, TrialRow

_ROUNDING = 0.01
"""Predictions are kept in float16: a few ties fall another way than when the trial measured itself."""
Run = tuple[str, int]
"""A cell and one of its seeds."""
Measure = Callable[[Answer], Array | None]


@dataclass(frozen=True)
class Evidence:
    """What is known of every run of a group on one test set."""

    split: str
    metric: str
    """The task's; empty where nothing is complete."""
    by_example: bool
    """Whether scores are (N,), one an example; else (1,), the run's metric."""
    students: Mapping[Run, Array]
    teachers: Mapping[Run, Array]
    """(N,) or (1,) scores whose mean is the metric of the run's teacher."""
    more: Mapping[str, Mapping[Run, Array]]
    """Further measures by example, by name."""
    labels: Array | None = None
    """(N,) gold, where scores are by example."""
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> int | None:
        """Test examples; None where scores are not by example."""
        return len(next(iter(self.students.values()))) if self.by_example and self.students else None


def splits_of(group: Group) -> list[str]:
    """Return the test sets that a group's students were read on, the task's own first."""
    found = {split for row in group.rows for split, _ in _measured(row)} - {"selection"}
    return sorted(found, key=lambda split: (split != "test", split))


def read_evidence(
    reader: Reader, sweep: str, group: Group, split: str, measures: Mapping[str, Measure] | None = None
) -> Evidence:
    """Return the scores of a group's runs on a split.

    By example where every complete run's predictions are kept, belong to the same rows and give the metric that the
    trial measured; else the runs' metrics, and a note says why. UserError: nothing was measured on this split, or by
    different metrics.
    """
    metric = _metric(group, split)
    if not metric:
        return Evidence(split, "", False, {}, {}, {})
    try:
        return _by_example(reader, sweep, group, split, metric, measures or {})
    except _Unfit as why:
        return _by_run(group, split, metric, str(why))


def metric_cells(group: Group, evidence: Evidence) -> list[Cell]:
    """Return cells whose mean is the task's metric."""
    return _cells(group, evidence.students)


def retention_cells(group: Group, evidence: Evidence) -> list[Cell] | None:
    """Return cells whose mean is retention; None where the metric of some teacher is not above zero."""
    if not retention_defined(evidence):
        return None
    kept = {run: retained(student, evidence.teachers[run]) for run, student in evidence.students.items()}
    return _cells(group, {run: scores for run, scores in kept.items() if scores is not None})


def retention_defined(evidence: Evidence) -> bool:
    """Say whether every teacher's metric is above zero, so that a ratio says something."""
    return all(level > 0 for level in _teacher_levels(evidence))


def teacher_level(evidence: Evidence) -> float | None:
    """Return the teacher's metric; the mean where runs have different ones, None where there are none."""
    levels = _teacher_levels(evidence)
    return float(np.mean(levels)) if levels else None


def _teacher_levels(evidence: Evidence) -> list[float]:
    """Return the metric of each teacher once by example, where runs share the array, else once a run."""
    distinct = {id(scores): scores for scores in evidence.teachers.values()}
    return [float(np.mean(scores, dtype=np.float64)) for scores in distinct.values()]


class _Unfit(Exception):
    """Why predictions cannot be used."""


def _cells(group: Group, scores: Mapping[Run, Array]) -> list[Cell]:
    runs: dict[str, dict[int, Array]] = {cell: {} for cell in group.complete}
    for (cell, seed), found in scores.items():
        runs[cell][seed] = found
    return [make_cell(cell, seeds, group.seeds) for cell, seeds in runs.items()]


def _measured(row: TrialRow) -> list[tuple[str, str]]:
    """Return (split, metric) of everything the trial's teacher was measured on: names are teacher/<split>/<metric>."""
    parts = (name.split("/") for name in row.metrics if name.startswith("teacher/"))
    return [(split, metric) for _, split, metric in (part for part in parts if len(part) == 3)]


def _metric(group: Group, split: str) -> str:
    rows = group.rows
    found = sorted({metric for row in rows for at, metric in _measured(row) if at == split})
    if rows and not found:
        raise UserError(
            Problem("--split", f"nothing was measured on '{split}' of {group.task}. {_hint(split, splits_of(group))}")
        )
    if len(found) > 1:
        raise UserError(Problem(group.task, f"its runs were measured by different metrics: {', '.join(found)}"))
    return found[0] if found else ""


def _hint(split: str, known: Sequence[str]) -> str:
    return did_you_mean(split, known) if known else "Its trials kept no test results."


def _by_example(
    reader: Reader, sweep: str, group: Group, split: str, metric: str, measures: Mapping[str, Measure]
) -> Evidence:
    students: dict[Run, Array] = {}
    teachers: dict[Run, Array] = {}
    more: dict[str, dict[Run, Array]] = {name: {} for name in measures}
    of_teacher: dict[int, Array] = {}
    labels: Array | None = None
    for run, row, answer in _answers(reader, sweep, group, split):
        scores = metric_scores(metric, answer)
        known = row.metrics.get(f"{split}/{metric}")
        if known is not None and not abs(float(scores.mean()) - known) < _ROUNDING:
            raise _Unfit("the predictions kept do not give the metric that was measured")
        labels = answer.labels
        students[run] = scores.astype(np.int8) if metric == "accuracy" else scores
        # Runs share a teacher: its scores are worked out once for each array of logits.
        if id(answer.teacher) not in of_teacher:
            found = teacher_scores(metric, answer)
            assert found is not None
            of_teacher[id(answer.teacher)] = found
        teachers[run] = of_teacher[id(answer.teacher)]
        for name, measure in measures.items():
            value = measure(answer)
            if value is not None:
                more[name][run] = value
    return Evidence(split, metric, True, students, teachers, more, labels)


def _answers(reader: Reader, sweep: str, group: Group, split: str) -> Iterator[tuple[Run, TrialRow, Answer]]:
    """Yield what every complete run said. _Unfit: some run's answers are not kept, or belong to other rows."""
    wanted = {row.trial: ((cell, seed), row) for cell, seeds in group.complete.items() for seed, row in seeds.items()}
    references: dict[tuple[str | None, str | None], tuple[Array, Array]] = {}
    first: Array | None = None
    for kept in reader.all_predictions(sweep, split, list(wanted)):
        key = (kept.task, kept.teacher)
        if key not in references:
            labels = reader.labels(sweep, kept.trial, split)
            teacher = reader.teacher_predictions(sweep, kept.trial, split)
            if labels is None or teacher is None:
                raise _Unfit("gold labels or the teacher's answers are not kept")
            references[key] = (labels, teacher)
        labels, teacher = references[key]
        first = labels if first is None else first
        if labels is not first and not np.array_equal(labels, first):
            raise UserError(Problem(group.task, f"runs were tested on different rows of '{split}': they do not pair"))
        if not len(kept.logits) == len(labels) == len(teacher):
            raise _Unfit("predictions and gold labels differ in number")
        if not (np.isfinite(kept.logits).all() and np.isfinite(teacher).all()):
            raise _Unfit("some predictions are not numbers")
        run, row = wanted.pop(kept.trial)
        yield run, row, Answer(kept.logits, teacher, labels)
    if wanted:
        raise _Unfit(f"the predictions of {len(wanted)} complete run{'s' if len(wanted) > 1 else ''} are not kept")


def _by_run(group: Group, split: str, metric: str, why: str) -> Evidence:
    students: dict[Run, Array] = {}
    teachers: dict[Run, Array] = {}
    for cell, seeds in group.complete.items():
        for seed, row in seeds.items():
            mine, teacher = row.metrics.get(f"{split}/{metric}"), row.metrics.get(f"teacher/{split}/{metric}")
            if mine is not None and teacher is not None and np.isfinite([mine, teacher]).all():
                students[cell, seed] = np.array([mine], np.float64)
                teachers[cell, seed] = np.array([teacher], np.float64)
    note = f"Compared by each run's {metric} alone, not by test example: {why}."
    return Evidence(split, metric, False, students, teachers, {}, notes=(note,))

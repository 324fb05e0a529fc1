"""The proof of an export: a new process loads it, and what it says is compared, scored and calibrated."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.calibration import Calibration, calibrated_ece, fit_temperature
from limbeck.compare import Interval, interval, retention_scores
from limbeck.export.facts import ExportFailed, Facts
from limbeck.export.formats import TOLERANCE, Format
from limbeck.metrics import METRICS, agreement, ece, evaluate, example_scores, per_class_recall, retention
from limbeck.predictor import Predictor
from limbeck.predictor.fresh import Seen, look
from limbeck.tasks.task import Examples

SELECTION, TEST = "selection", "test"
METRIC_TOLERANCE = 0.02
"""How far the metric on the test split may lie from what the trial recorded: a trial may evaluate in bf16, and eight
bits turn a few close rows."""
COMPARED_ROWS = 256
_RESAMPLING_SEED = 0


@dataclass(frozen=True)
class Result:
    """How the exported model does on one split; a number that is not known is None."""

    split: str
    rows: int
    value: float | None
    teacher: float | None
    retention: float | None
    agreement: float | None
    ece: float | None
    ece_calibrated: float | None
    measured: bool
    """By the exported folder itself, rather than by the trial."""


@dataclass(frozen=True)
class ClassResult:
    """How one class of the test split is found."""

    name: str
    rows: int
    recall: float | None
    teacher: float | None


@dataclass(frozen=True)
class Proof:
    """What a fresh process found out about an export."""

    difference: float
    results: tuple[Result, ...]
    """Test first."""
    classes: tuple[ClassResult, ...]
    retention: Interval | None
    """Over new test examples, the seed as it is; None where the teacher's answers were not kept."""
    calibration: Calibration | None
    """None for regression."""
    seen: Seen

    @property
    def test(self) -> Result:
        return self.results[0]


def prove(student: Predictor, folder: Path, wanted: Format, facts: Facts, splits: Mapping[str, Examples]) -> Proof:
    """Let a new process classify the splits with the folder; compare with the student in this one.

    `splits` holds `selection`, `test` and every other test set. ExportFailed: the folder does not load, its logits
    differ from the student's, or the metric is not what the trial recorded.
    """
    # A model that computes what the student computes has the student's numbers on the other sets.
    asked = {name: some for name, some in splits.items() if not wanted.exact or name in (SELECTION, TEST)}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            columns = {name: examples.columns for name, examples in asked.items()}
            seen = look(folder, columns, TEST, facts.threads, Path(scratch))
        except RuntimeError as error:
            raise ExportFailed(str(error)) from error
    difference = _difference(student, seen.logits[TEST], splits[TEST])
    if wanted.exact and not difference <= TOLERANCE:
        raise ExportFailed(f"logits of the exported model differ by {difference:.2g}, more than {TOLERANCE:g}")
    calibration = _calibration(seen.logits[SELECTION], splits[SELECTION]) if facts.classes else None
    order = [TEST, SELECTION, *sorted(set(splits) - {TEST, SELECTION})]
    results = tuple(_result(name, splits[name], seen.logits.get(name), facts, calibration) for name in order)
    _check(results[0], wanted, facts)
    return Proof(
        difference=difference,
        results=results,
        classes=_classes(seen.logits[TEST], splits[TEST], facts),
        retention=_interval(seen.logits[TEST], splits[TEST], facts),
        calibration=calibration,
        seen=seen,
    )


def _difference(student: Predictor, logits: NDArray[np.float32], test: Examples) -> float:
    first = [column[:COMPARED_ROWS] for column in test.columns]
    trained = student.logits(first)
    if logits.shape[1] != trained.shape[1]:
        raise ExportFailed(f"the exported model has {logits.shape[1]} outputs, the student {trained.shape[1]}")
    return float(np.abs(logits[: len(trained)] - trained).max(initial=0.0))


def _check(test: Result, wanted: Format, facts: Facts) -> None:
    recorded = facts.metrics.get(f"{TEST}/{facts.metric}", math.nan)
    value = math.nan if test.value is None else test.value
    lost = recorded - value
    if (abs(lost) if wanted.exact else lost) > METRIC_TOLERANCE + 2 / test.rows:
        raise ExportFailed(f"{facts.metric} on the test split is {value:.4f}; the trial recorded {recorded:.4f}")


def _calibration(logits: NDArray[np.float32], selection: Examples) -> Calibration:
    return Calibration(fit_temperature(logits, selection.labels), len(selection), SELECTION)


def _result(
    split: str,
    examples: Examples,
    logits: NDArray[np.float32] | None,
    facts: Facts,
    calibration: Calibration | None,
) -> Result:
    known = facts.metrics
    teacher = _finite(known.get(f"teacher/{split}/{facts.metric}"))
    recorded = [_finite(known.get(f"{split}/{name}")) for name in (facts.metric, "retention", "agreement", "ece")]
    if logits is None:
        value, kept, same, error = recorded
        return Result(split, len(examples), value, teacher, kept, same, error, None, measured=False)
    scored, labels = examples.scored(logits), examples.labels
    value = evaluate(facts.metric, scored, labels)
    same = _agreement(logits, facts.teacher_logits.get(split)) if facts.classes else None
    return Result(
        split=split,
        rows=len(examples),
        value=value,
        teacher=teacher,
        retention=None if teacher is None else retention(value, teacher),
        agreement=recorded[2] if same is None else same,
        ece=ece(scored, labels) if facts.classes else None,
        ece_calibrated=None if calibration is None else calibrated_ece(scored, labels, calibration.temperature),
        measured=True,
    )


def _agreement(logits: NDArray[np.float32], teacher: NDArray[Any] | None) -> float | None:
    if teacher is None or teacher.shape != logits.shape:
        return None
    return agreement(logits, teacher).top1


def _classes(logits: NDArray[np.float32], test: Examples, facts: Facts) -> tuple[ClassResult, ...]:
    if not facts.classes:
        return ()
    teacher = facts.teacher_logits.get(TEST)
    fits = teacher is not None and teacher.shape == logits.shape
    found = per_class_recall(logits, test.labels)
    theirs = per_class_recall(teacher, test.labels) if teacher is not None and fits else (None,) * len(found)
    counts = np.bincount(np.asarray(test.labels, np.int64), minlength=len(found))
    rows = zip(facts.classes, counts.tolist(), found, theirs, strict=True)
    return tuple(ClassResult(name, count, mine, other) for name, count, mine, other in rows)


def _interval(logits: NDArray[np.float32], test: Examples, facts: Facts) -> Interval | None:
    """Return retention with its 95 % interval over new test examples, the teacher's answers resampled with them."""
    teacher = facts.teacher_logits.get(TEST)
    if teacher is None or teacher.shape != logits.shape or facts.metric not in METRICS or len(test) < 3:
        return None
    ours, theirs = (example_scores(facts.metric, one, test.labels) for one in (logits, teacher))
    kept = retention_scores(ours[None], theirs)
    return None if kept is None else interval(kept, np.random.default_rng(_RESAMPLING_SEED))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

"""Numbers a test example each, whose mean is a measure of a student: what intervals and tests resample."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limbeck.compare import retention_scores
from limbeck.metrics import example_scores, log_probabilities, probabilities

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Answer(NamedTuple):
    """What one student and its teacher said to N test examples."""

    logits: Array
    """(N, C) of the student."""
    teacher: Array | None
    """(N, C) of the teacher; None where they were not kept."""
    labels: Array
    """(N,) gold: int64 classes, or float32 values."""


def metric_scores(metric: str, answer: Answer) -> Floats:
    """Return (N,) scores whose mean is the student's metric."""
    return example_scores(metric, answer.logits, answer.labels)


def teacher_scores(metric: str, answer: Answer) -> Floats | None:
    """Return (N,) scores whose mean is the teacher's metric."""
    return None if answer.teacher is None else example_scores(metric, answer.teacher, answer.labels)


def agreement_scores(answer: Answer) -> Floats | None:
    """Return (N,) 1.0 where student and teacher have the same top class; None for a regression."""
    if answer.teacher is None or answer.teacher.shape[1] < 2:
        return None
    return np.asarray(answer.logits.argmax(axis=1) == answer.teacher.argmax(axis=1), np.float64)


def divergence_scores(answer: Answer) -> Floats | None:
    """Return each example's (N,) KL(teacher || student) in nats; None for a regression."""
    if answer.teacher is None or answer.teacher.shape[1] < 2:
        return None
    student, teacher = log_probabilities(answer.logits), log_probabilities(answer.teacher)
    return np.asarray((np.exp(teacher) * (teacher - student)).sum(axis=1), np.float64)


def calibration_scores(logits: Array, labels: Array, bins: int = 15) -> Floats | None:
    """Return (N,) scores whose mean is the calibration error `limbeck.metrics.ece`; None for a regression.

    ECE plus the centred jackknife influence (N − 1)(θ̄₍.₎ − θ₍₋ᵢ₎): leaving an example out changes its own bin alone.
    The interval is one of that estimate, which few examples a bin bias upwards, as they do every binned ECE.
    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), section 6.
    """
    chances = probabilities(logits)
    if chances.shape[1] < 2 or len(labels) < 2:
        return None
    confidence = chances.max(axis=1)
    gap = (chances.argmax(axis=1) == labels) - confidence
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    sums = np.bincount(place, weights=gap, minlength=bins)
    total, count = np.abs(sums).sum(), len(labels)
    without = (total - np.abs(sums[place]) + np.abs(sums[place] - gap)) / (count - 1)
    return np.asarray(total / count + (count - 1) * (without.mean() - without), np.float64)


def retained(student: Array, teacher: Array) -> Array | None:
    """Return (N,) scores whose mean is one run's retention; None where the teacher's metric is not above zero."""
    scores = retention_scores(student[None], teacher)
    return None if scores is None else scores[0]


def retained_over_tasks(students: list[Array], teachers: list[Array]) -> list[Floats] | None:
    """Return (N_t,) scores a task, whose mean over examples and then over tasks is Σ student / Σ teacher of one run.

    T·(x_ti − R·y_ti)/D + R with D = Σ ȳ_t and R = Σ x̄_t / D: the ratio's influence, as `compare.retention_scores` has
    it for one task. None where the sum of the teacher's metrics is not above zero.
    """
    total = sum(float(np.mean(teacher, dtype=np.float64)) for teacher in teachers)
    if not total > 0:
        return None
    ratio = sum(float(np.mean(student, dtype=np.float64)) for student in students) / total
    return [
        np.asarray(len(students) * (x - ratio * y.astype(np.float64)) / total + ratio, np.float64)
        for x, y in zip(students, teachers, strict=True)
    ]


def gap_closed_scores(students: Array, baselines: Array, teacher: Array) -> Floats | None:
    """Return (S, N) scores whose mean is (student − baseline)/(teacher − baseline), means over seeds and examples.

    `students` and `baselines` are (S, N), paired by seed and example; `teacher` is (N,). With D = ȳ − b̄ and
    G = (x̄ − b̄)/D a score is ((x_si − b_si) − G·(y_i − b_si))/D + G, the ratio's influence (Cochran, Sampling
    Techniques, 1977, section 6.3). None where the teacher is no better than the baseline.
    """
    gain, room = students - baselines, teacher - baselines
    whole = float(np.mean(room, dtype=np.float64))
    if not whole > 0:
        return None
    closed = float(np.mean(gain, dtype=np.float64)) / whole
    return np.asarray((gain - closed * room) / whole + closed, np.float64)

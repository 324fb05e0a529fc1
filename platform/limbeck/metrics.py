"""Task metrics, retention, agreement and calibration: pure functions of numbers, in NumPy alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import UserError, did_you_mean

Floats = NDArray[np.float64]
Array = NDArray[Any]


@dataclass(frozen=True)
class Metric:
    """A number for how well (N,) predictions fit (N,) labels: class indices, or real values when `regression`."""

    name: str
    function: Callable[[Array, Array], float]
    higher_is_better: bool = True
    regression: bool = False


class Agreement(NamedTuple):
    """How closely a student follows its teacher: share of equal top classes, mean KL(teacher || student) in nats."""

    top1: float
    mean_kl: float


class Chance(NamedTuple):
    """How many right predictions chance gives: their mean and standard deviation."""

    mean: float
    deviation: float


class TasksRetention(NamedTuple):
    """Retention over several tasks, both ways, over the tasks where it is defined; the others are listed."""

    ratio_of_means: float | None
    mean_of_ratios: float | None
    undefined: tuple[str, ...]


def accuracy(labels: Array, predictions: Array) -> float:
    """Return the share of equal entries."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def matthews(labels: Array, predictions: Array) -> float:
    """Return the Matthews correlation for any number of classes; 0.0 where labels or predictions are constant.

    (c·s − Σ p_k t_k) / sqrt((s² − Σ p_k²)(s² − Σ t_k²)): c right, s all, p_k predicted and t_k true counts of class k.
    Source: Gorodkin, Comput. Biol. Chem. 28 (2004), 367-374.
    """
    table = _confusion(labels, predictions)
    right, everything = np.trace(table), table.sum()
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    spread = (everything**2 - predicted @ predicted) * (everything**2 - true @ true)
    return float((right * everything - predicted @ true) / np.sqrt(spread)) if spread > 0 else 0.0


def right_by_chance(labels: Array, predictions: Array) -> Chance:
    """Return what is right when (N,) predicted classes are dealt to the rows at random, exact over all deals.

    Variance: Σ d_ij² / (N − 1), d the doubly centred table of who would be right where. For two classes the distance of
    what is right from the mean, in standard deviations, is the Matthews correlation times √(N − 1).
    Source: Hoeffding, Ann. Math. Statist. 22 (1951), 558-566.
    """
    table = _confusion(labels, predictions)
    true, predicted, rows = table.sum(axis=1), table.sum(axis=0), table.sum()
    pairs = true @ predicted
    squares = pairs - true @ predicted**2 / rows - true**2 @ predicted / rows + (pairs / rows) ** 2
    return Chance(float(pairs / rows), float(np.sqrt(max(0.0, squares) / max(1.0, rows - 1))))


def f1_macro(labels: Array, predictions: Array) -> float:
    """Return the unweighted mean of F1 over the classes that occur in the labels or the predictions."""
    scores = _f1_of_classes(labels, predictions)
    return float(np.nanmean(scores))


def accuracy_f1(labels: Array, predictions: Array) -> float:
    """Return the mean of accuracy and the F1 of class 1 (0.0 where class 1 neither occurs nor is predicted).

    Source: the GLUE benchmark's score for MRPC and QQP, arXiv 1804.07461.
    """
    scores = _f1_of_classes(labels, predictions)
    positive = float(scores[1]) if len(scores) > 1 and not np.isnan(scores[1]) else 0.0
    return (accuracy(labels, predictions) + positive) / 2


def pearson_spearman(labels: Array, predictions: Array) -> float:
    """Return the mean of Pearson's and Spearman's correlation; 0.0 where either side is constant.

    Source: the GLUE benchmark's score for STS-B, arXiv 1804.07461.
    """
    x, y = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    return (_pearson(x, y) + _pearson(_ranks(x), _ranks(y))) / 2


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", accuracy),
    "matthews": Metric("matthews", matthews),
    "f1_macro": Metric("f1_macro", f1_macro),
    "accuracy_f1": Metric("accuracy_f1", accuracy_f1),
    "pearson_spearman": Metric("pearson_spearman", pearson_spearman, regression=True),
}


def predictions(logits: Array, *, regression: bool = False) -> Array:
    """Return the (N,) predicted class indices of (N, C) logits, or the one column of a regression's output.

    Raises ValueError where a logit is not finite: the largest of them would be arbitrary.
    """
    values = _two_dimensional(logits)
    return values[:, 0] if regression else values.argmax(axis=1)


def evaluate(metric: str, logits: Array, labels: Array) -> float:
    """Return the metric of that name for (N, C) logits and (N,) labels. UserError for an unknown name."""
    if metric not in METRICS:
        raise UserError(f"no such metric: {metric!r}. {did_you_mean(metric, METRICS)}")
    chosen = METRICS[metric]
    return chosen.function(np.asarray(labels), predictions(_matching(logits, labels), regression=chosen.regression))


def example_scores(metric: str, logits: Array, labels: Array) -> Floats:
    """Return (N,) scores, one an example, whose mean is the metric: what `limbeck.compare` resamples.

    For accuracy: 1 where the prediction is right. For the others, which are no means over examples, the metric plus
    the centred jackknife influence (N − 1)(θ̄₍.₎ − θ₍₋ᵢ₎), so that intervals and tests hold to first order in 1/N.
    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), section 6.
    """
    value = evaluate(metric, logits, labels)
    gold, guess = np.asarray(labels), predictions(logits, regression=METRICS[metric].regression)
    if metric == "accuracy":
        return np.asarray(gold == guess, np.float64)
    if len(gold) < 3:
        raise ValueError(f"the influence of one example on {metric} needs three examples or more, got {len(gold)}")
    pairs = np.stack([gold.astype(np.float64), guess.astype(np.float64)], axis=1)
    _, first, kind = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    function = METRICS[metric].function
    without = np.array([function(np.delete(gold, i), np.delete(guess, i)) for i in first])[kind.reshape(-1)]
    return np.asarray(value + (len(gold) - 1) * (without.mean() - without), np.float64)


def log_probabilities(logits: Array) -> Floats:
    """Return the (N, C) log-softmax in float64."""
    values = _two_dimensional(logits)
    values = values - values.max(axis=1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(axis=1, keepdims=True)), np.float64)


def probabilities(logits: Array) -> Floats:
    """Return the (N, C) softmax in float64."""
    return np.asarray(np.exp(log_probabilities(logits)), np.float64)


def agreement(student_logits: Array, teacher_logits: Array) -> Agreement:
    """Compare two (N, C) outputs, C >= 2, on the same rows. ValueError for a regression: it has no top class."""
    student, teacher = log_probabilities(student_logits), log_probabilities(teacher_logits)
    if student.shape != teacher.shape or student.shape[1] < 2:
        raise ValueError(f"agreement needs two equal (N, C >= 2) outputs, got {student.shape} and {teacher.shape}")
    divergence = (np.exp(teacher) * (teacher - student)).sum(axis=1)
    return Agreement(accuracy(teacher.argmax(axis=1), student.argmax(axis=1)), max(0.0, float(divergence.mean())))


def ece(logits: Array, labels: Array, bins: int = 15) -> float:
    """Return the expected calibration error of the top class over equal-width bins of confidence, closed on the right.

    Σ_b |b|/N · |accuracy(b) − confidence(b)|. Source: Guo et al., arXiv 1706.04599, equation 3.
    """
    chances = probabilities(_matching(logits, labels))
    if chances.shape[1] < 2:
        raise ValueError("calibration needs two classes or more")
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == np.asarray(labels)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def per_class_recall(logits: Array, labels: Array) -> tuple[float | None, ...]:
    """Return for each of the C classes the share of its examples that are found; None for a class without examples."""
    gold, values = np.asarray(labels), _matching(logits, labels)
    right = predictions(values) == gold
    return tuple(float(right[gold == c].mean()) if (gold == c).any() else None for c in range(values.shape[1]))


def retention(student: float, teacher: float) -> float | None:
    """Return student / teacher; None where the teacher's metric is not above zero and a ratio says nothing."""
    return student / teacher if teacher > 0 else None


def retention_over_tasks(students: Mapping[str, float], teachers: Mapping[str, float]) -> TasksRetention:
    """Return Σ students / Σ teachers and the mean of the ratios over the tasks whose teacher's metric is above zero.

    The tasks left out are named in `undefined`, in the order given. ValueError where the two mappings differ in tasks.
    """
    if set(students) != set(teachers):
        raise ValueError(f"different tasks: {sorted(set(students) ^ set(teachers))}")
    known = [task for task in students if teachers[task] > 0]
    undefined = tuple(task for task in students if task not in known)
    if not known:
        return TasksRetention(None, None, undefined)
    ratios = [students[task] / teachers[task] for task in known]
    total = sum(students[task] for task in known) / sum(teachers[task] for task in known)
    return TasksRetention(total, sum(ratios) / len(ratios), undefined)


def gap_closed(method: float, finetune: float, teacher: float) -> float | None:
    """Return (method − finetune) / (teacher − finetune); None where the teacher is no better than fine-tuning."""
    return (method - finetune) / (teacher - finetune) if teacher > finetune else None


def _confusion(labels: Array, predictions: Array) -> Floats:
    """Return the (C, C) counts of true (row) and predicted (column) class."""
    gold, guess = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    classes = int(max(gold.max(), guess.max())) + 1
    return np.bincount(gold * classes + guess, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def _f1_of_classes(labels: Array, predictions: Array) -> Floats:
    """Return the F1 of every class, NaN for one that neither occurs nor is predicted."""
    table = _confusion(labels, predictions)
    occurrences = table.sum(axis=0) + table.sum(axis=1)
    f1 = np.full(len(table), np.nan)
    np.divide(2 * np.diag(table), occurrences, out=f1, where=occurrences > 0)
    return f1


def _pearson(x: Floats, y: Floats) -> float:
    # A constant column is tested for as such: its computed variance is rounding noise, not zero.
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    return float((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)))


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.reshape(-1)], np.float64)


def _two_dimensional(logits: Array) -> Floats:
    values = np.asarray(logits, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"logits must be (N, C) with N and C above zero, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("some logits are not finite")
    return values


def _matching(logits: Array, labels: Array) -> Floats:
    values = _two_dimensional(logits)
    if np.shape(labels) != (len(values),):
        raise ValueError(f"{len(values)} rows of logits, but labels of shape {np.shape(labels)}")
    return values

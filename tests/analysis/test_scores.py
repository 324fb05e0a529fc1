"""Scores by example: their means are the measures, and what they say of single examples is worked by hand."""

import numpy as np
import pytest

from limbeck.analysis.scores import (
    Answer,
    agreement_scores,
    calibration_scores,
    divergence_scores,
    gap_closed_scores,
    metric_scores,
    retained,
    retained_over_tasks,
)
from limbeck.compare import Resampling
from limbeck.compare.crossed import parts
from limbeck.compare.intervals import bounds
from limbeck.metrics import agreement, ece

LABELS = np.array([0, 1, 1, 0])
STUDENT = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
TEACHER = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
ANSWER = Answer(STUDENT, TEACHER, LABELS)


def test_right_and_wrong_and_agreement() -> None:
    assert metric_scores("accuracy", ANSWER).tolist() == [1, 1, 0, 0]
    found = agreement_scores(ANSWER)
    assert found is not None
    assert found.tolist() == [1, 1, 0, 1]


def test_the_mean_divergence_is_the_metrics_own() -> None:
    found = divergence_scores(ANSWER)
    assert found is not None
    assert found.mean() == pytest.approx(agreement(STUDENT, TEACHER).mean_kl)
    # The third example: teacher (.269, .731), student (.731, .269), so that KL = (.731 − .269)·ln(.731/.269) = .462·1.
    assert found[2] == pytest.approx(0.46212, abs=1e-5)


def test_a_regression_has_neither_classes_nor_calibration() -> None:
    answer = Answer(STUDENT[:, :1], TEACHER[:, :1], LABELS.astype(np.float32))
    assert agreement_scores(answer) is None
    assert divergence_scores(answer) is None
    assert calibration_scores(answer.logits, answer.labels) is None


def test_calibration_scores_are_what_leaving_an_example_out_changes() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    found = calibration_scores(logits, labels)
    assert found is not None
    whole = ece(logits, labels)
    without = np.array([ece(np.delete(logits, i, 0), np.delete(labels, i)) for i in range(50)])
    assert found.mean() == pytest.approx(whole)
    assert found == pytest.approx(whole + 49 * (without.mean() - without))


def test_retention_of_a_run_is_its_ratio() -> None:
    student, teacher = np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 1, 1])
    kept = retained(student, teacher)
    assert kept is not None
    assert kept.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert retained(student, np.zeros(4)) is None
    assert retained(student, -np.ones(4)) is None


def test_over_tasks_the_mean_is_the_ratio_of_sums() -> None:
    students = [np.array([1.0, 0, 1, 1]), np.array([1.0, 0])]
    teachers = [np.array([1.0, 1, 1, 1]), np.array([1.0, 1])]
    found = retained_over_tasks(students, teachers)
    assert found is not None
    assert [len(task) for task in found] == [4, 2]
    # (0.75 + 0.5) / (1 + 1), where the mean of the ratios is the same as all teachers are perfect.
    assert np.mean([task.mean() for task in found]) == pytest.approx(0.625)
    teachers = [np.array([1.0, 1, 1, 1]), np.array([1.0, 0])]
    found = retained_over_tasks(students, teachers)
    assert found is not None
    # (0.75 + 0.5) / (1 + 0.5); the mean of the ratios would be (0.75 + 1)/2 = 0.875.
    assert np.mean([task.mean() for task in found]) == pytest.approx(1.25 / 1.5)
    assert retained_over_tasks(students, [np.zeros(4), np.zeros(2)]) is None


def test_the_gap_closed_is_from_the_baseline_to_the_teacher() -> None:
    teacher = np.array([1.0, 1, 1, 0])
    baseline = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    students = np.array([[1.0, 1, 0, 0], [1.0, 1, 1, 0]])
    found = gap_closed_scores(students, baseline, teacher)
    assert found is not None
    assert found.shape == (2, 4)
    # Means 0.25 → teacher 0.75; the students reach 0.5 and 0.75: half and all of the way.
    assert found.mean(axis=1).tolist() == pytest.approx([0.5, 1.0])
    assert found.mean() == pytest.approx(0.75)
    assert gap_closed_scores(students, np.ones((2, 4)), teacher) is None


def test_the_interval_of_the_gap_closed_covers_it() -> None:
    """Right answers at 70 % of fine-tuning, 80 % of the students and 90 % of the teacher: half of the gap."""
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(2_000):
        difficulty = rng.random(300)
        baselines, students = (difficulty < rate + rng.uniform(-0.1, 0.1, (5, 300)) for rate in (0.7, 0.8))
        found = gap_closed_scores(students.astype(float), baselines.astype(float), (difficulty < 0.9).astype(float))
        assert found is not None
        scores.append(found)
    low, high = bounds(parts([np.stack(scores)]), rng, Resampling(resamples=500), clip=True)
    assert 0.93 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.97

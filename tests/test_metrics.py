import math
from itertools import permutations

import numpy as np
import pytest

from limbeck import metrics
from limbeck.errors import UserError

LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 1])
GUESS = np.array([0, 0, 1, 1, 1, 1, 0, 0])
# true 0: 2 right, 1 taken for 1; true 1: 3 right, 2 taken for 0


def one_hot(classes: np.ndarray, width: int) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes] * 4


def test_accuracy_by_hand() -> None:
    assert metrics.accuracy(LABELS, GUESS) == 5 / 8


def test_matthews_by_hand() -> None:
    # (TP·TN − FP·FN)/sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)) = (3·2 − 1·2)/sqrt(4·5·3·4)
    assert metrics.matthews(LABELS, GUESS) == pytest.approx(4 / math.sqrt(240))


def test_matthews_of_three_classes_by_hand() -> None:
    # right 4 of 6; counts true (2, 2, 2), predicted (4, 1, 1): Σ p·t = 12, Σ p² = 18, Σ t² = 12
    labels, guess = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 2, 0])
    assert metrics.matthews(labels, guess) == pytest.approx((4 * 6 - 12) / math.sqrt((36 - 18) * (36 - 12)))


def test_matthews_of_constant_predictions_is_zero() -> None:
    assert metrics.matthews(LABELS, np.ones(8, int)) == 0.0
    assert metrics.matthews(np.zeros(8, int), GUESS) == 0.0


def test_right_by_chance_is_that_of_all_deals() -> None:
    labels, guess = np.array([0, 0, 1, 2, 2, 2, 1]), np.array([0, 2, 1, 2, 2, 0, 2])
    dealt = [(labels == deal).sum() for deal in permutations(guess.tolist())]
    assert metrics.right_by_chance(labels, guess) == pytest.approx((np.mean(dealt), np.std(dealt)))
    chance = metrics.right_by_chance(LABELS, GUESS)
    assert (5 - chance.mean) / chance.deviation == pytest.approx(metrics.matthews(LABELS, GUESS) * math.sqrt(7))
    assert metrics.right_by_chance(LABELS, np.ones(8, int)) == (5.0, 0.0)
    assert metrics.right_by_chance(LABELS[:1], GUESS[:1]) == (1.0, 0.0)


def test_f1_by_hand() -> None:
    # class 0: 2·2/(3 + 4); class 1: 2·3/(5 + 4)
    assert metrics.f1_macro(LABELS, GUESS) == pytest.approx((4 / 7 + 6 / 9) / 2)
    assert metrics.accuracy_f1(LABELS, GUESS) == pytest.approx((5 / 8 + 6 / 9) / 2)


def test_f1_leaves_out_a_class_that_never_occurs() -> None:
    assert metrics.f1_macro(np.array([0, 2]), np.array([0, 2])) == 1.0
    assert metrics.accuracy_f1(np.zeros(4, int), np.zeros(4, int)) == 0.5


def test_pearson_spearman_by_hand() -> None:
    # x deviations (−1.5 −.5 .5 1.5), y deviations (−2 −1 3 0): Pearson 5/sqrt(5·14); ranks of y 1 2 4 3: Spearman .8
    x, y = np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 5, 2])
    assert metrics.pearson_spearman(x, y) == pytest.approx((5 / math.sqrt(70) + 0.8) / 2)


def test_ties_share_their_rank() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: Pearson of the ranks 4.5/sqrt(4.5·5)
    x, y = np.array([1.0, 2, 2, 9]), np.array([1.0, 2, 3, 4])
    # x deviations −2.5 −1.5 −1.5 5.5, y deviations −1.5 −.5 .5 1.5: Pearson 12/sqrt(41·5)
    assert metrics.pearson_spearman(x, y) == pytest.approx((12 / math.sqrt(205) + math.sqrt(0.9)) / 2)


def test_constant_correlation_is_zero_even_when_the_constant_is_not_exact_in_binary() -> None:
    assert metrics.pearson_spearman(np.arange(7.0), np.full(7, 0.1)) == 0.0


def test_evaluate_reads_logits_and_names_what_it_knows() -> None:
    assert metrics.evaluate("accuracy", one_hot(GUESS, 2), LABELS) == 5 / 8
    assert metrics.evaluate("pearson_spearman", np.array([[1.0], [2], [3]]), np.array([1.0, 2, 3])) == pytest.approx(1)
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        metrics.evaluate("acuracy", one_hot(GUESS, 2), LABELS)


@pytest.mark.parametrize("bad", [np.full((8, 2), np.nan), np.zeros((0, 2)), np.zeros((7, 2)), np.zeros(8)])
def test_evaluate_refuses_logits_it_cannot_read(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"finite|logits"):
        metrics.evaluate("accuracy", bad, LABELS)


def test_agreement_by_hand_in_nats() -> None:
    # teacher (3/4, 1/4) against student (1/2, 1/2): ¾ ln 1.5 + ¼ ln .5; second row: equal
    teacher, student = np.log([[3.0, 1.0], [1.0, 4.0]]), np.log([[1.0, 1.0], [1.0, 4.0]])
    got = metrics.agreement(student, teacher)
    assert got.mean_kl == pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2)
    assert got.top1 == 1.0
    # the divergence has a direction
    assert metrics.agreement(teacher, student).mean_kl == pytest.approx((0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2)


def test_agreement_survives_half_precision_and_large_logits() -> None:
    huge = np.array([[6e4, -6e4], [0, 1]], np.float16)
    assert metrics.agreement(huge, huge) == (1.0, 0.0)
    with pytest.raises(ValueError, match="agreement"):
        metrics.agreement(np.ones((3, 1)), np.ones((3, 1)))


def test_ece_by_hand() -> None:
    # confidences .9 .9 .9 .6 .6, right 1 1 0 1 0: .9 lies in bin 14 of 15, .6 in bin 9: |2.0 − 2.7|/5 + |1.0 − 1.2|/5
    chance = np.array([0.9, 0.9, 0.9, 0.6, 0.6])
    logits = np.log(np.stack([chance, 1 - chance], axis=1))
    assert metrics.ece(logits, np.array([0, 0, 1, 0, 1])) == pytest.approx(0.7 / 5 + 0.2 / 5)


def test_ece_of_certain_and_right_is_zero() -> None:
    assert metrics.ece(np.array([[800.0, 0.0], [0.0, 800.0]]), np.array([0, 1])) == 0.0


def test_per_class_recall() -> None:
    assert metrics.per_class_recall(one_hot(GUESS, 3), LABELS) == (2 / 3, 3 / 5, None)


def test_retention_needs_a_teacher_above_zero() -> None:
    assert metrics.retention(0.9, 0.8) == pytest.approx(1.125)
    assert metrics.retention(0.5, 0.0) is None
    assert metrics.retention(0.5, -0.1) is None
    assert metrics.retention(0.5, float("nan")) is None


def test_retention_over_tasks_both_ways() -> None:
    got = metrics.retention_over_tasks({"a": 0.4, "b": 0.9, "c": 0.1}, {"a": 0.5, "b": 0.9, "c": -0.2})
    assert got.ratio_of_means == pytest.approx(1.3 / 1.4)
    assert got.mean_of_ratios == pytest.approx(0.9)
    assert got.undefined == ("c",)
    assert metrics.retention_over_tasks({"c": 0.1}, {"c": 0.0}) == (None, None, ("c",))
    with pytest.raises(ValueError, match="different tasks"):
        metrics.retention_over_tasks({"a": 1.0}, {"b": 1.0})


def test_gap_closed() -> None:
    assert metrics.gap_closed(0.85, 0.8, 0.9) == pytest.approx(0.5)
    assert metrics.gap_closed(0.75, 0.8, 0.9) == pytest.approx(-0.5)
    assert metrics.gap_closed(0.85, 0.9, 0.9) is None


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "f1_macro", "accuracy_f1"])
def test_scores_of_the_examples_average_to_the_metric(metric: str) -> None:
    scores = metrics.example_scores(metric, one_hot(GUESS, 2), LABELS)
    assert scores.shape == (8,)
    assert scores.mean() == pytest.approx(metrics.evaluate(metric, one_hot(GUESS, 2), LABELS))


@pytest.mark.parametrize("metric", ["matthews", "pearson_spearman"])
def test_scores_of_the_examples_carry_the_sampling_variance(metric: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 150))
    y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
    labels, outputs = (x, y[..., None]) if metric == "pearson_spearman" else (x > 0, np.stack([-y, y], axis=-1))
    values = [metrics.evaluate(metric, outputs[k], labels[k] * 1) for k in range(600)]
    claimed = [metrics.example_scores(metric, outputs[k], labels[k] * 1).std(ddof=1) / math.sqrt(150) for k in range(8)]
    assert np.mean(claimed) == pytest.approx(np.std(values), rel=0.15)

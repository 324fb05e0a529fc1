import numpy as np
import pytest
from scipy.stats import t as student_t

from limbeck.compare import Resampling, difference_interval, interval

FINE = Resampling(resamples=40_000)


def test_without_examples_it_is_students_interval_over_seeds() -> None:
    values = np.array([[0.81], [0.84], [0.80], [0.86], [0.83]])
    got = interval(values, np.random.default_rng(0), FINE)
    reach = student_t.isf(0.025, 4) * values.std(ddof=1) / np.sqrt(5)
    assert got.mean == pytest.approx(values.mean())
    assert got.seeds == 5
    assert got.high - got.mean == pytest.approx(reach, rel=0.04)
    assert got.mean - got.low == pytest.approx(reach, rel=0.04)


def test_one_seed_gives_the_interval_over_examples() -> None:
    right = (np.arange(400) < 320)[None]
    got = interval(right, np.random.default_rng(1), Resampling(resamples=10_000))
    assert got.mean == pytest.approx(0.8)
    assert got.seeds == 1
    # 1.96·sqrt(.8·.2/400)
    assert got.high - got.low == pytest.approx(2 * 0.0392, rel=0.03)


def test_an_interval_stays_within_the_scores() -> None:
    right = np.ones((5, 40))
    right[0, 0] = 0
    got = interval(right, np.random.default_rng(2))
    assert 0.9 < got.low < got.mean < got.high <= 1.0
    assert interval(np.ones((3, 9)), np.random.default_rng(2)).low == 1.0


def test_tasks_weigh_the_same() -> None:
    got = interval([np.zeros((2, 300)), np.ones((2, 10))], np.random.default_rng(3))
    assert got.mean == 0.5


def test_pairing_narrows_what_examples_share() -> None:
    rng = np.random.default_rng(4)
    hard = rng.random((1, 500)) < 0.3
    ours, theirs = ((rng.random((5, 500)) < 0.97) & ~hard for _ in range(2))
    paired = difference_interval(ours, theirs, rng)
    alone = interval(ours, rng)
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_the_same_generator_gives_the_same_interval() -> None:
    right = np.random.default_rng(5).random((5, 60)) < 0.7
    assert interval(right, np.random.default_rng(6)) == interval(right, np.random.default_rng(6))


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((0, 4)), np.zeros((3, 0)), []])
def test_scores_of_another_shape_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="scores must be"):
        interval(bad, np.random.default_rng(0))


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="unpaired"):
        difference_interval(np.zeros((5, 10)), np.zeros((4, 10)), np.random.default_rng(0))

import numpy as np
import pytest

from limbeck.compare import Cell, Resampling, make_cell, retention_scores
from limbeck.compare.cells import check_cells, shared_seeds
from limbeck.compare.crossed import parts
from limbeck.compare.intervals import bounds
from limbeck.compare.paired import p_values
from limbeck.errors import UserError


def test_a_cell_lists_the_seeds_it_lacks() -> None:
    got = make_cell("kd", {3: np.array([1, 0]), 1: np.array([1, 1])}, (1, 2, 3, 4))
    assert got.seeds == (1, 3)
    assert got.missing == (2, 4)
    assert got.scores[0].tolist() == [[1, 1], [1, 0]]
    assert got.values().tolist() == [1.0, 0.5]
    assert make_cell("kd", {}, (0, 1)) == Cell("kd", (), (), (0, 1))


def test_several_tasks_weigh_the_same() -> None:
    got = make_cell("kd", {0: [np.array([1, 1, 1, 0]), np.array([0])]}, (0,))
    assert got.sizes == (4, 1)
    assert got.values().tolist() == [0.375]


def test_seeds_are_picked_in_the_order_asked_for() -> None:
    cell = make_cell("kd", {seed: np.full(2, seed) for seed in range(4)}, range(4))
    assert cell.at((3, 1))[0].tolist() == [[3, 3], [1, 1]]
    assert shared_seeds([cell, make_cell("x", {2: np.ones(2), 1: np.ones(2)}, range(3))]) == (1, 2)


@pytest.mark.parametrize(
    ("seeds", "scores", "missing"),
    [
        ((0,), np.ones((2, 3)), ()),
        ((0, 1), np.ones((2, 0)), ()),
        ((0, 1), np.array([[0.5], [np.nan]]), ()),
        ((0, 0), np.ones((2, 3)), ()),
        ((0, 1), np.ones((2, 3)), (1,)),
    ],
)
def test_a_cell_that_contradicts_itself_is_a_mistake(
    seeds: tuple[int, ...], scores: np.ndarray, missing: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="cell 'x'"):
        Cell("x", seeds, (scores,), missing)


def test_cells_that_cannot_be_compared_are_all_named() -> None:
    one, other = (make_cell(name, {0: np.ones(n)}, (0,)) for name, n in [("a", 3), ("b", 4)])
    with pytest.raises(UserError) as told:
        check_cells([one, one, other], "aa")
    lines = str(told.value).splitlines()
    assert lines[0] == "a: 2 cells bear this name"
    assert "Did you mean 'a'?" in lines[1]
    assert lines[2].startswith("b: scored on (4,) test examples")
    with pytest.raises(UserError, match="different numbers"):
        make_cell("c", {0: np.ones(3), 1: np.ones(4)}, (0, 1))


def test_retention_scores_average_to_the_retention_of_each_seed() -> None:
    student = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 0, 1]])
    teacher = np.array([1, 1, 1, 0, 1])
    got = retention_scores(student, teacher)
    assert got is not None
    assert got.mean(axis=1) == pytest.approx([0.6 / 0.8, 0.4 / 0.8])
    assert retention_scores(student, np.zeros(5)) is None


def test_retention_counts_what_student_and_teacher_share() -> None:
    """A student right exactly where its teacher is has the retention 1 without any doubt."""
    teacher = np.random.default_rng(0).random(200) < 0.8
    got = retention_scores(np.stack([teacher, teacher]).astype(float), teacher)
    assert got is not None
    assert np.ptp(got) == pytest.approx(0, abs=1e-12)


def kept_by(rng: np.random.Generator, teacher: np.ndarray, seeds: int, luck: float) -> np.ndarray:
    """(B, S, N) retention of students right on about 95 % of what the teacher gets right and on 5 % of the rest."""
    follows = rng.random((len(teacher), seeds, teacher.shape[1])) < 0.95 + rng.normal(0, luck, (len(teacher), seeds, 1))
    students = np.where(follows, teacher[:, None], ~teacher[:, None])
    return np.stack([retention_scores(one, given) for one, given in zip(students, teacher, strict=True)])


def test_the_interval_of_a_retention_covers_it_for_a_teacher_seen_on_other_examples() -> None:
    rng = np.random.default_rng(1)
    given = parts([kept_by(rng, rng.random((2_000, 200)) < 0.9, 6, 0.01)])
    low, high = bounds(given, rng, Resampling(resamples=500), clip=True)
    assert 0.93 <= np.mean((low <= 0.86 / 0.9) & (high >= 0.86 / 0.9)) <= 0.97


def test_students_of_one_teacher_differ_in_retention_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    teacher = rng.random((2_000, 200)) < 0.9
    given = parts([kept_by(rng, teacher, 5, 0.02) - kept_by(rng, teacher, 5, 0.02)], [np.zeros((5, 200))])
    assert 0.04 <= np.mean(p_values(given, 1_999, rng) <= 0.05) <= 0.06

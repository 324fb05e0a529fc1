import numpy as np
import pytest

from limbeck.compare import Cell, Resampling, ablation_table, difference_interval, make_cell, permutation_test
from limbeck.errors import UserError

PLANNED = (0, 1, 2, 3, 4)
QUICK = Resampling(resamples=500, draws=1_999)


def answers(rate: float, seed: int) -> np.ndarray:
    """Right answers of one run, on examples as hard for every cell."""
    difficulty = np.random.default_rng(99).random(400)
    return difficulty < rate + np.random.default_rng(seed).normal(0, 0.03, 400)


def cell(name: str, rate: float, seeds: tuple[int, ...] = PLANNED) -> Cell:
    return make_cell(name, {seed: answers(rate, seed) for seed in seeds}, PLANNED)


def table(*cells: Cell, how: Resampling = QUICK) -> dict:
    return {row.cell: row for row in ablation_table(cells, "full", np.random.default_rng(0), how)}


def test_a_table_has_every_cell_in_its_order() -> None:
    rows = table(cell("full", 0.9), cell("no adversary", 0.8), cell("no kd", 0.9))
    assert list(rows) == ["full", "no adversary", "no kd"]
    worse = rows["no adversary"]
    assert worse.difference == pytest.approx(worse.mean - rows["full"].mean)
    assert worse.difference_low < worse.difference < worse.difference_high < 0
    assert worse.p_adjusted < 0.05
    assert worse.effect_size < -3
    assert worse.probability_of_improvement == 0.0
    assert rows["full"].difference is None
    assert rows["full"].p is None
    assert rows["no kd"].p == 1.0


def test_p_values_are_adjusted_over_what_was_tested() -> None:
    rows = table(cell("full", 0.9), cell("a", 0.888), cell("b", 0.8), cell("none", 0.9, ()))
    tested = sorted([rows["a"], rows["b"]], key=lambda row: row.p)
    assert tested[0].p_adjusted == pytest.approx(2 * tested[0].p)
    assert rows["none"].p_adjusted is None


def test_missing_seeds_are_shown_and_the_rest_is_paired() -> None:
    rows = table(cell("full", 0.9), cell("a", 0.85, (0, 2, 4)))
    assert rows["a"].n_seeds == rows["a"].n_pairs == 3
    assert rows["a"].missing_seeds == (1, 3)
    shared = [np.stack([answers(rate, seed) for seed in (0, 2, 4)]) for rate in (0.85, 0.9)]
    assert rows["a"].difference == pytest.approx(shared[0].mean() - shared[1].mean())


def test_a_cell_without_a_result_is_an_empty_row() -> None:
    row = table(cell("full", 0.9), cell("failed", 0.9, ()))["failed"]
    assert (row.n_seeds, row.n_pairs, row.missing_seeds) == (0, 0, PLANNED)
    assert {row.mean, row.low, row.difference, row.p, row.effect_size, row.probability_of_improvement} == {None}


def test_a_cell_of_one_seed_has_no_p() -> None:
    row = table(cell("full", 0.9), cell("a", 0.8, (2,)))["a"]
    assert row.p is None
    assert row.p_adjusted is None
    assert row.effect_size is None
    assert row.difference_low < row.difference < row.difference_high


def test_a_cell_that_shares_no_seed_with_the_reference_is_not_paired() -> None:
    other = make_cell("a", {7: answers(0.8, 7), 8: answers(0.8, 8)}, (7, 8))
    row = table(cell("full", 0.9), other)["a"]
    assert row.mean is not None
    assert (row.n_pairs, row.difference, row.p) == (0, None, None)
    assert row.probability_of_improvement == 0.0


def test_a_failed_reference_leaves_means_alone() -> None:
    rows = table(cell("full", 0.9, ()), cell("a", 0.8))
    assert rows["a"].mean is not None
    assert rows["a"].difference is None


def test_the_table_says_what_single_comparisons_say() -> None:
    fine = Resampling(resamples=20_000, draws=20_000)
    full, other = cell("full", 0.9), cell("a", 0.89)
    row = table(full, other, how=fine)["a"]
    rng = np.random.default_rng(1)
    alone = difference_interval(other.scores[0], full.scores[0], rng, fine)
    assert (row.difference_low, row.difference_high) == pytest.approx((alone.low, alone.high), abs=5e-4)
    assert row.p == pytest.approx(permutation_test(other.scores[0], full.scores[0], rng, fine), abs=0.01)


def test_several_tasks_are_compared_at_once() -> None:
    def both(name: str, rates: tuple[float, float]) -> Cell:
        return make_cell(name, {s: [answers(rates[0], s), answers(rates[1], s)[:100]] for s in PLANNED}, PLANNED)

    rows = table(both("full", (0.9, 0.6)), both("a", (0.9, 0.5)))
    ours, theirs = (answers(rate, 0)[:100].mean() for rate in (0.5, 0.6))
    assert rows["a"].difference == pytest.approx((ours - theirs) / 2, abs=0.02)
    assert rows["a"].probability_of_improvement == pytest.approx(0.25)


def test_an_unknown_reference_is_told() -> None:
    with pytest.raises(UserError, match="Did you mean 'full'"):
        ablation_table([cell("full", 0.9)], "ful", np.random.default_rng(0))

"""The model: parts by hand, and by simulation the false positives and the coverage that it promises."""

from collections.abc import Callable

import numpy as np
import pytest

from limbeck.compare.crossed import draws, flips, parts, resamples
from limbeck.compare.intervals import Resampling, bounds
from limbeck.compare.paired import p_values

SIMULATIONS, SEEDS, EXAMPLES = 2_000, 5, 200
HOW = Resampling(resamples=1_000, draws=1_999)
Sampler = Callable[[np.random.Generator], np.ndarray]


def crossed(seed: float, example: float, noise: float) -> Sampler:
    """Differences with normal seed, example and residual effects of these sizes and mean zero."""

    def sample(rng: np.random.Generator) -> np.ndarray:
        d = noise * rng.standard_normal((SIMULATIONS, SEEDS, EXAMPLES), np.float32)
        d += np.float32(seed) * rng.standard_normal((SIMULATIONS, SEEDS, 1), np.float32)
        return d + np.float32(example) * rng.standard_normal((SIMULATIONS, 1, EXAMPLES), np.float32)

    return sample


def answers(rng: np.random.Generator, seed: float, example: float, shift: float = 1.5) -> np.ndarray:
    """0/1 answers of one cell on shared examples: logits of difficulty 2, a seed's luck, a cell's taste in examples."""
    logits = shift + rng.normal(0, seed, (SIMULATIONS, SEEDS, 1)) + rng.normal(0, example, (SIMULATIONS, 1, EXAMPLES))
    chance = 1 / (1 + np.exp(-logits))
    return rng.random(chance.shape, np.float32) < chance


def differing_answers(seed: float, example: float) -> Sampler:
    def sample(rng: np.random.Generator) -> np.ndarray:
        difficulty = rng.normal(0, 2, (SIMULATIONS, 1, EXAMPLES))
        first, second = (answers(rng, seed, example, 1.5 + difficulty) for _ in range(2))
        return first.astype(np.float32) - second

    return sample


NULLS = {
    "seeds only": crossed(1, 0, 0.1),
    "examples only": crossed(0, 1, 0.1),
    "seeds and examples alike": crossed(np.sqrt(SEEDS / EXAMPLES), 1, 1),
    "answers of cells that differ by luck": differing_answers(0.3, 0),
    "answers of cells that differ by seed and taste": differing_answers(0.3, 0.5),
}


@pytest.mark.parametrize("null", NULLS)
def test_false_positives_and_coverage_hold_where_seeds_and_examples_vary(null: str) -> None:
    rng = np.random.default_rng(20)
    given = parts([NULLS[null](rng)], [np.zeros((SEEDS, EXAMPLES))])
    false_positives = np.mean(p_values(given, 1_999, rng) <= 0.05)
    low, high = bounds(given, rng, HOW)
    assert 0.04 <= false_positives <= 0.06
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.97


def test_the_interval_of_a_cells_own_accuracy_covers_it() -> None:
    rng = np.random.default_rng(21)
    # Accuracy over all seeds and examples: E[sigmoid(1.5 + N(0, .3² + 2²))], by the nodes of Gauss and Hermite
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    truth = weights @ (1 / (1 + np.exp(-1.5 - nodes * np.sqrt(0.3**2 + 2**2)))) / weights.sum()
    low, high = bounds(parts([answers(rng, 0.3, 2.0)]), rng, HOW, clip=True)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_two_tasks_are_strata_of_their_own() -> None:
    rng = np.random.default_rng(22)
    # A seed is lucky on both tasks at once, and the small task is the noisy one.
    luck = rng.normal(0, 0.03, (SIMULATIONS, SEEDS, 1))
    tasks = [luck + rng.normal(0, 1, (SIMULATIONS, 1, 150)), luck + rng.normal(0, 0.3, (SIMULATIONS, 1, 40))]
    given = parts(tasks, [np.zeros((SEEDS, 150)), np.zeros((SEEDS, 40))])
    assert given.mean == pytest.approx((tasks[0].mean(axis=(1, 2)) + tasks[1].mean(axis=(1, 2))) / 2)
    assert 0.04 <= np.mean(p_values(given, 1_999, rng) <= 0.05) <= 0.06
    low, high = bounds(given, rng, HOW)
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.97


def test_flipping_single_answers_would_find_effects_that_are_not_there() -> None:
    """What the model is for: seeds flipped with every answer for itself call luck an effect."""
    rng = np.random.default_rng(23)
    d = NULLS["answers of cells that differ by seed and taste"](rng)[:400].reshape(400, -1)
    naive = np.abs(d.sum(axis=1)) > 1.96 * np.sqrt((d**2).sum(axis=1))
    assert naive.mean() > 0.15


def test_parts_by_hand() -> None:
    # seed means 2, 4; example means 1, 3, 5; residuals ±1, 0: MS_examples 2·4, MS_residual (1 + 1 + 1 + 1)/2
    given = parts([np.array([[[1.0, 2, 3], [1.0, 4, 7]]])])
    assert given.mean.tolist() == [3.0]
    assert given.seed_means.tolist() == [[2.0, 4.0]]
    assert given.seed_variance == pytest.approx(2 / 2)
    assert given.example_variance == pytest.approx((8 - 2) / (2 * 3))
    assert given.freedom == pytest.approx((1 + 1) ** 2 / (1**2 / 1 + 1**2 / 2))
    assert (given.lowest.item(), given.highest.item()) == (1.0, 7.0)


def test_differences_are_taken_by_seed_and_example() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.random((3, 4, 50)) < 0.8, rng.random((4, 50)) < 0.7
    together, apart = parts([ours], [theirs]), parts([ours.astype(float) - theirs])
    assert together.mean == pytest.approx(apart.mean)
    assert together.example_variance == pytest.approx(apart.example_variance)


def test_examples_carry_exactly_their_variance() -> None:
    rng = np.random.default_rng(2)
    given = parts([crossed(0, 1, 1)(rng)[:3]])
    assert (given.examples[0].var(axis=1) / EXAMPLES) == pytest.approx(given.example_variance, rel=1e-4)


def test_seeds_that_tie_by_counting_are_not_taken_for_noiseless() -> None:
    # Both seeds win by one example of 100, on different ones: an honest test must not call that certain.
    ours, theirs = np.zeros((1, 2, 100)), np.zeros((2, 100))
    ours[0, 0, 7] = ours[0, 1, 40] = 1
    assert p_values(parts([ours], [theirs]), 1_999, np.random.default_rng(3)).item() > 0.05


def test_weights_are_signs_and_counts() -> None:
    rng = np.random.default_rng(4)
    signs, counts = flips([40, 7], 300, rng), resamples([40, 7], 300, rng)
    assert [set(np.unique(s)) for s in signs] == [{-1, 1}, {-1, 1}]
    assert [c.shape for c in counts] == [(40, 300), (7, 300)]
    assert (counts[0].sum(axis=0) == 40).all()
    assert counts[0].var() == pytest.approx(39 / 40, rel=0.05)


def test_a_sample_without_any_spread_is_drawn_as_a_point() -> None:
    given = parts([np.ones((1, 3, 20))])
    assert not draws(given, flips([20], 50, np.random.default_rng(5)), np.random.default_rng(5)).any()

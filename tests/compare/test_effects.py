import numpy as np
import pytest

from limbeck.compare import Cell, factorial_design, factorial_effects, make_cell

# Box, Hunter & Hunter, Statistics for Experimenters, pilot plant: mean yield of each run in standard order
PILOT = [60, 72, 54, 68, 52, 83, 45, 80]
# Montgomery, Design and Analysis of Experiments, 8th edition, example 8.1: filtration rate, half fraction with I = ABCD
FILTRATION = [45, 100, 45, 65, 75, 60, 80, 96]


def cells_of(values: list[float], rng: np.random.Generator, spread: float = 0.5) -> list[Cell]:
    """Four seeds a run, each run's mean exactly the published one."""
    noise = rng.normal(0, spread, (len(values), 4))
    noise -= noise.mean(axis=1, keepdims=True)
    return [Cell(f"run {i}", (0, 1, 2, 3), (value + noise[i][:, None],)) for i, value in enumerate(map(float, values))]


def test_effects_of_the_pilot_plant() -> None:
    rng = np.random.default_rng(0)
    design = factorial_design(["temperature", "concentration", "catalyst"])
    rows = factorial_effects(design, cells_of(PILOT, rng), rng, order=3)
    assert {row.term: pytest.approx(row.estimate) for row in rows} == {
        "temperature": 23.0,
        "concentration": -5.0,
        "catalyst": 1.5,
        "temperature × concentration": 1.5,
        "temperature × catalyst": 10.0,
        "concentration × catalyst": 0.0,
        "temperature × concentration × catalyst": 0.5,
    }
    big = rows[0]
    assert big.low < 23 < big.high
    assert big.p < big.p_adjusted < 0.05
    assert rows[5].p == pytest.approx(1.0)


def test_effects_of_the_half_fraction_of_the_filtration_rate() -> None:
    rng = np.random.default_rng(1)
    rows = factorial_effects(factorial_design("ABCD", 4), cells_of(FILTRATION, rng), rng)
    assert [(row.term, row.aliases, pytest.approx(row.estimate)) for row in rows] == [
        ("A", (), 19.0),
        ("B", (), 1.5),
        ("C", (), 14.0),
        ("D", (), 16.5),
        ("A × B", ("C × D",), -1.0),
        ("A × C", ("B × D",), -18.5),
        ("A × D", ("B × C",), 19.0),
    ]


def test_effects_are_paired_by_example() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(0, 5, (1, 200))
    cells = [
        Cell(name, (0, 1, 2, 3, 4), (gain + difficulty + rng.normal(0, 0.1, (5, 200)),))
        for name, gain in [("off", 0.0), ("on", 0.3)]
    ]
    row = factorial_effects(factorial_design(["a"]), cells, rng)[0]
    assert row.estimate == pytest.approx(0.3, abs=0.05)
    assert row.high - row.low < 0.1


def test_only_seeds_that_every_cell_has_count() -> None:
    rng = np.random.default_rng(3)
    runs = {seed: rng.random(30) for seed in range(5)}
    lacking = {seed: runs[seed] + 1 for seed in (0, 1, 3)}
    row = factorial_effects(
        factorial_design(["a"]), [make_cell("off", runs, range(5)), make_cell("on", lacking, range(5))], rng
    )[0]
    assert row.n_seeds == 3
    assert row.estimate == pytest.approx(1.0)
    assert row.missing == ("on: seed 2", "on: seed 4")


def test_an_empty_cell_leaves_the_effects_empty() -> None:
    full = make_cell("off", {0: np.ones(5), 1: np.ones(5)}, (0, 1))
    row = factorial_effects(factorial_design(["a"]), [full, make_cell("on", {}, (0, 1))], np.random.default_rng(4))[0]
    assert (row.n_seeds, row.estimate, row.low, row.p) == (0, None, None, None)
    assert row.missing == ("on: seed 0", "on: seed 1")


def test_a_cell_too_few_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="4 runs, got 1"):
        factorial_effects(
            factorial_design(["a", "b"]), [make_cell("x", {0: np.ones(3)}, (0,))], np.random.default_rng(0)
        )

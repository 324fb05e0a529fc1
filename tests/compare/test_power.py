import math

import numpy as np
import pytest
from scipy.stats import t as student_t
from statsmodels.stats.power import TTestPower

from limbeck.compare import Noise, design_power, minimum_detectable_difference, smallest_p, unreachable


def test_power_of_thirty_four_pairs() -> None:
    # Faul et al., G*Power 3 (2007): two-sided paired t, d_z = 0.5, alpha .05: 34 pairs for power .8, reached .808
    assert minimum_detectable_difference(34, Noise(1.0), power=0.8077775) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("seeds", [5, 10, 30])
def test_power_over_seeds_as_statsmodels_has_it(seeds: int) -> None:
    theirs = TTestPower().solve_power(nobs=seeds, alpha=0.01, power=0.9, alternative="two-sided")
    ours = minimum_detectable_difference(seeds, Noise(1.0), alpha=0.05, comparisons=5, power=0.9)
    assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3])
def test_power_of_very_few_seeds_by_simulation(seeds: int) -> None:
    # where other solvers run out of their range
    shift = minimum_detectable_difference(seeds, Noise(1.0), alpha=0.01, power=0.9)
    d = shift + np.random.default_rng(0).standard_normal((40_000, seeds))
    statistic = d.mean(axis=1) / d.std(axis=1, ddof=1) * math.sqrt(seeds)
    assert np.mean(np.abs(statistic) > student_t.isf(0.005, seeds - 1)) == pytest.approx(0.9, abs=0.006)


def test_power_over_examples_is_normal() -> None:
    # (1.95996 + 0.84162)·sqrt(.1/1000)
    got = minimum_detectable_difference(5, Noise(0.0, examples=1_000, disagreement=0.1))
    assert got == pytest.approx((1.95996 + 0.84162) * 0.01, rel=2e-3)


def test_the_detectable_difference_is_detected_as_often_as_promised() -> None:
    from limbeck.compare.crossed import parts
    from limbeck.compare.paired import p_values

    rng = np.random.default_rng(0)
    noise = Noise(0.01, examples=400, disagreement=0.04)
    shift = minimum_detectable_difference(5, noise)
    d = shift + rng.normal(0, 0.01, (1_000, 5, 1)) + rng.normal(0, 0.2, (1_000, 1, 400)) + np.zeros((1, 5, 1))
    found = p_values(parts([d], [np.zeros((5, 400))]), 1_999, rng) <= 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.05)


def test_one_seed_detects_nothing() -> None:
    assert minimum_detectable_difference(1, Noise(0.01)) == math.inf
    got = design_power(1, 3)
    assert got.effect_size == math.inf
    assert any("permutation" in warning and "2 seeds" in warning for warning in got.warnings)


def test_no_noise_at_all_detects_everything() -> None:
    assert minimum_detectable_difference(5, Noise(0.0)) == 0.0


def test_five_seeds_cannot_reach_five_percent_by_ranks() -> None:
    assert smallest_p("wilcoxon", 5) == 0.0625
    told = unreachable("wilcoxon", 5)
    assert told is not None
    assert "0.0625" in told
    assert "6 seeds are needed" in told
    assert unreachable("wilcoxon", 6) is None
    assert unreachable("permutation", 5) is None


@pytest.mark.parametrize("comparisons", [1, 2, 4, 10])
def test_the_number_of_seeds_it_names_is_the_smallest_that_reaches(comparisons: int) -> None:
    told = unreachable("sign-flip", 2, comparisons=comparisons)
    enough = int(told.rsplit("; ", 1)[1].split()[0])
    assert unreachable("sign-flip", enough, comparisons=comparisons) is None
    assert unreachable("sign-flip", enough - 1, comparisons=comparisons) is not None


def test_too_few_randomisations_for_the_family_are_told() -> None:
    told = unreachable("permutation", 5, comparisons=1_000, draws=9_999)
    assert told is not None
    assert unreachable("permutation", 5, comparisons=1_000, draws=20_000) is None
    assert "20000 or more" in told
    assert unreachable("permutation", 5, comparisons=1_000) is None


def test_a_design_says_what_it_can_show() -> None:
    got = design_power(5, 4, Noise(0.004, examples=1_000, disagreement=0.02))
    assert got.effect_size == pytest.approx(2.5, abs=0.4)
    assert 0.01 < got.difference < 0.03
    assert len(got.warnings) == 2
    assert "over 4 comparisons" in got.warnings[0]

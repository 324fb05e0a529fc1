"""Against published worked examples, and against tests that others wrote."""

import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from limbeck.compare import (
    Resampling,
    cohens_dz,
    holm,
    mcnemar,
    permutation_test,
    probability_of_improvement,
    sign_flip_test,
)

DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])


def test_sign_flips_of_darwins_maize() -> None:
    # Fisher, The Design of Experiments (1935), section 21: 863 of 32,768 sums reach 314, both tails 5.267 %
    assert sign_flip_test(DARWIN, np.random.default_rng(0)) == pytest.approx(2 * 863 / 2**15)


def test_five_seeds_cannot_go_below_a_sixteenth_by_sign_flips() -> None:
    assert sign_flip_test(np.array([1.0, 1.1, 0.9, 1.2, 1.0]), np.random.default_rng(0)) == 2 / 2**5


def test_many_seeds_are_flipped_at_random() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([DARWIN, DARWIN])
    assert sign_flip_test(values, rng) == pytest.approx(ttest_rel(values, 0 * values).pvalue, abs=0.003)


def test_mcnemar_of_stem_cell_transplants() -> None:
    # Bentur et al. (2009) in Fagerland, Lydersen & Laake, BMC Med. Res. Methodol. 13:91 (2013), table 1: 21 children,
    # discordant 1 and 7, exact conditional p = 0.0703
    before = np.array([1] * 2 + [0] * 19, bool)
    after = np.array([1, 0] + [1] * 7 + [0] * 12, bool)
    got = mcnemar(before[None], after[None])[0]
    assert (got.only_first, got.only_second) == (1, 7)
    assert got.p == pytest.approx(0.0703, abs=5e-5)


def test_mcnemar_seed_by_seed_as_statsmodels_has_it() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((4, 300)) < 0.85, rng.random((4, 300)) < 0.8
    for seed, got in enumerate(mcnemar(ours, theirs)):
        a, b = ours[seed], theirs[seed]
        table = [[(a & b).sum(), (a & ~b).sum()], [(b & ~a).sum(), (~a & ~b).sum()]]
        assert got.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_mcnemar_of_equal_answers() -> None:
    assert mcnemar(np.ones((1, 5)), np.ones((1, 5)))[0].p == 1.0


def test_holm_by_hand() -> None:
    # The usual textbook example of Holm (1979) at 0.05: .005 ≤ .05/4 and .01 ≤ .05/3 are rejected, .03 > .05/2
    # is not and stops it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_counts_only_what_was_tested() -> None:
    assert holm([0.03, None, 0.01]) == [0.03, None, 0.02]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_as_statsmodels_has_it() -> None:
    p = np.random.default_rng(3).random(50) ** 3
    assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_without_examples_the_permutation_test_is_students() -> None:
    rng = np.random.default_rng(4)
    ours = rng.normal(0.8, 0.02, (5, 1))
    theirs = ours - np.array([[0.01], [0.02], [0.005], [0.015], [0.002]])
    got = permutation_test(ours, theirs, rng, Resampling(draws=39_999))
    assert got == pytest.approx(ttest_rel(ours[:, 0], theirs[:, 0]).pvalue, abs=0.003)


def test_without_seed_noise_the_permutation_test_flips_examples() -> None:
    # Every seed answers alike; 30 examples are won and 12 lost: (30 − 12)/sqrt(42) = 2.78 standard errors
    won = np.repeat([1, -1, 0], [30, 12, 458])
    ours = np.broadcast_to(won > 0, (5, 500))
    theirs = np.broadcast_to(won < 0, (5, 500))
    got = permutation_test(ours, theirs, np.random.default_rng(5), Resampling(draws=39_999))
    assert got == pytest.approx(0.0055, abs=0.0025)


def test_five_seeds_can_reach_any_alpha_by_the_permutation_test() -> None:
    rng = np.random.default_rng(6)
    theirs = rng.random((5, 400)) < 0.7
    ours = theirs | (rng.random((5, 400)) < 0.4)
    assert permutation_test(ours, theirs, rng) < 0.001


def test_equal_cells_do_not_differ() -> None:
    right = np.random.default_rng(7).random((5, 50)) < 0.7
    assert permutation_test(right, right, np.random.default_rng(0)) == 1.0


def test_one_seed_says_nothing_about_seeds() -> None:
    assert permutation_test(np.ones((1, 50)), np.zeros((1, 50)), np.random.default_rng(0)) is None


def test_effect_size_of_darwins_maize() -> None:
    # mean 20.93, standard deviation 37.74 (Fisher, section 17: t = 2.148 = d_z·sqrt(15))
    assert cohens_dz(DARWIN) == pytest.approx(2.148 / np.sqrt(15), abs=5e-4)


def test_effect_size_needs_a_spread() -> None:
    assert cohens_dz(np.array([0.1])) is None
    assert cohens_dz(np.array([0.3, 0.1 + 0.2, 0.3])) is None


def test_probability_of_improvement_by_hand() -> None:
    # of 2 × 3 pairs: .8 beats .7, .75 and ties .8; .9 beats all three: (2 + ½ + 3)/6
    assert probability_of_improvement(np.array([0.8, 0.9]), np.array([0.7, 0.75, 0.8])) == pytest.approx(5.5 / 6)
    both = probability_of_improvement([np.array([1.0]), np.array([0.0])], [np.array([0.5]), np.array([0.5])])
    assert both == 0.5

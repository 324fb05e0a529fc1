"""Tests and effect sizes for pairs of cells that share seeds and test examples, and their adjustment for a family."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from limbeck.compare.crossed import Array, Floats, Parts, draws, flips, in_batches, parts
from limbeck.compare.intervals import Resampling, as_tasks, require_paired

_EXACT_SEEDS = 16


@dataclass(frozen=True)
class McNemar:
    """One seed's discordant examples and the exact two-sided p of as uneven a split under fair coin tosses."""

    only_first: int
    only_second: int
    p: float


def permutation_test(
    scores: Array | Sequence[Array],
    reference: Array | Sequence[Array],
    rng: np.random.Generator,
    how: Resampling | None = None,
) -> float | None:
    """Return the two-sided p of no mean difference between two cells, for new seeds and new test examples.

    Takes (S, N) scores a task, paired by seed and example. Each randomisation flips the signs of the examples'
    differences at random and rotates the seeds' (`limbeck.compare.crossed` has the model); p = (1 + those at least as
    far from zero as the data) / (1 + all), after Phipson & Smyth, arXiv 1603.05766. None for a single seed, whose noise
    cannot be known: `mcnemar` tests that one student.
    """
    ours, theirs = as_tasks(scores), as_tasks(reference)
    require_paired(ours, theirs)
    if len(ours[0]) < 2:
        return None
    given = parts([one[None] for one in ours], theirs)
    return float(p_values(given, (how or Resampling()).draws_for(1), rng)[0])


def p_values(given: Parts, count: int, rng: np.random.Generator) -> Floats:
    """Return the (B,) p-values of B samples of differences, by `count` randomisations that all of them share."""
    sizes = [deviations.shape[1] for deviations in given.examples]
    # The draws are made in float32: what equals the data up to rounding counts as equal.
    bar = np.abs(given.mean) * (1 - 1e-6)
    beyond = np.zeros(len(bar))
    for some in in_batches(sizes, count):
        beyond += (np.abs(draws(given, flips(sizes, some, rng), rng)) >= bar[:, None].astype(np.float32)).sum(axis=1)
    return np.asarray((1 + beyond) / (1 + count), np.float64)


def sign_flip_test(differences: Array, rng: np.random.Generator, count: int = 99_999) -> float:
    """Return the two-sided p of (S,) paired seed differences under all 2^S sign flips, or `count` random ones (S > 16).

    Exact without any assumption on shape when the two cells are exchangeable within a seed, for this test set only; it
    cannot fall below 2/2^S. Source: Fisher, The Design of Experiments (1935), section 21.
    """
    values = np.asarray(differences, np.float64)
    if len(values) <= _EXACT_SEEDS:
        signs = 1.0 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
    else:
        signs = 1.0 - 2 * rng.integers(0, 2, (count, len(values)))
        signs = np.concatenate([np.ones((1, len(values))), signs])
    # Sums of the same numbers in another order may differ in the last bits.
    bar = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    return float(np.mean(np.abs(signs @ values) >= bar))


def mcnemar(first: Array, second: Array) -> list[McNemar]:
    """Return the exact McNemar test of each seed's (S, N) right/wrong answers: does this student beat that one.

    Source: McNemar, Psychometrika 12 (1947), 153-157; the exact form is the binomial test of the discordant examples.
    """
    require_paired([first], [second])
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = (a & ~b).sum(axis=1), (b & ~a).sum(axis=1)
    p = np.minimum(1.0, 2 * binom.cdf(np.minimum(only_first, only_second), only_first + only_second, 0.5))
    return [McNemar(int(x), int(y), float(z)) for x, y, z in zip(only_first, only_second, p, strict=True)]


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted so that a family's chance of any false positive stays below alpha.

    max over j ≤ i of (m − j + 1)·p₍ⱼ₎, at most 1. None (not tested) stays None and does not count into the family.
    Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * value))
        adjusted[place] = highest
    return adjusted


def cohens_dz(differences: Array) -> float | None:
    """Return mean / standard deviation of (S,) paired seed differences; None for one seed or differences all equal.

    Source: Cohen, Statistical Power Analysis (1988), section 2.3.5.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2 or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return None
    return float(values.mean() / values.std(ddof=1))


def probability_of_improvement(ours: Array | Sequence[Array], theirs: Array | Sequence[Array]) -> float:
    """Return the chance that a run of ours beats a run of theirs: over all pairs of runs, ties half, mean over tasks.

    Takes each run's metric: (S,) values, or one such array a task; the numbers of runs may differ.
    Source: Agarwal et al., arXiv 2108.13264, section 4.3.
    """
    first = (ours,) if isinstance(ours, np.ndarray) else tuple(ours)
    second = (theirs,) if isinstance(theirs, np.ndarray) else tuple(theirs)
    chances = []
    for x, y in zip(first, second, strict=True):
        gap = np.asarray(x, np.float64)[:, None] - np.asarray(y, np.float64)
        # Means of equal counts may differ in the last bit.
        gap[np.abs(gap) < 1e-12] = 0.0
        chances.append((gap > 0).mean() + (gap == 0).mean() / 2)
    return float(np.mean(chances))

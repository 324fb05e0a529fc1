"""What a design can show, before it is run: the smallest difference it detects, the smallest p its tests reach."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

Test = Literal["permutation", "sign-flip", "wilcoxon"]
_NODES = (np.arange(4_000) + 0.5) / 4_000
"""Chances at which a standard error's distribution is read off."""


@dataclass(frozen=True)
class Noise:
    """How two cells' paired difference varies, in units of the metric."""

    seed_deviation: float
    """Standard deviation between seeds of the difference of two cells' metrics."""
    examples: int | None = None
    """Test examples; None: the test set counts as the whole population."""
    disagreement: float = 0.0
    """Share of test examples on which the two configurations differ whatever the seed; between 0 and 1."""


@dataclass(frozen=True)
class DesignPower:
    """What a design of paired cells can detect."""

    seeds: int
    comparisons: int
    alpha: float
    power: float
    effect_size: float
    """Smallest detectable difference in standard deviations between seeds (Cohen's d_z); inf for one seed."""
    difference: float | None
    """The same in units of the metric, where the noise is known."""
    warnings: tuple[str, ...]


def minimum_detectable_difference(
    seeds: int, noise: Noise, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float:
    """Return the true mean difference that the paired two-sided test finds significant with probability `power`.

    Solves the non-central t for V = deviation²/S + disagreement/N with Satterthwaite's degrees of freedom
    (`limbeck.compare.crossed`); alpha is divided by `comparisons`, the bar Holm sets for the smallest p. inf for one
    seed. Source: Cohen, Statistical Power Analysis (1988), section 2.3.5.
    """
    if seeds < 2:
        return math.inf
    from_seeds = noise.seed_deviation**2 / seeds
    from_examples = noise.disagreement / noise.examples if noise.examples else 0.0
    variance = from_seeds + from_examples
    if variance == 0:
        return 0.0
    spread = from_seeds**2 / (seeds - 1) + from_examples**2 / max(1, (noise.examples or 2) - 1)
    return _noncentrality(variance**2 / spread, alpha / comparisons, power) * math.sqrt(variance)


def design_power(
    seeds: int, comparisons: int, noise: Noise | None = None, *, alpha: float = 0.05, power: float = 0.8
) -> DesignPower:
    """Return what `comparisons` paired cells with this many seeds can detect, and warn of tests that cannot at all."""
    unit = minimum_detectable_difference(seeds, Noise(1.0), alpha=alpha, power=power, comparisons=comparisons)
    known = None
    if noise is not None:
        known = minimum_detectable_difference(seeds, noise, alpha=alpha, power=power, comparisons=comparisons)
    tests: Sequence[Test] = ("permutation", "sign-flip", "wilcoxon")
    problems = [unreachable(test, seeds, alpha=alpha, comparisons=comparisons) for test in tests]
    warnings = tuple(problem for problem in problems if problem)
    return DesignPower(seeds, comparisons, alpha, power, unit, known, warnings)


def smallest_p(test: Test, seeds: int, draws: int = 9_999) -> float:
    """Return the smallest two-sided p the test can give: 2/2^S where seeds are flipped or ranked, else 1/(draws + 1).

    1.0 for the permutation test of a single seed, which is not made.
    """
    if test == "permutation":
        return 1 / (draws + 1) if seeds > 1 else 1.0
    return min(1.0, 2.0 ** (1 - seeds))


def unreachable(
    test: Test, seeds: int, *, alpha: float = 0.05, comparisons: int = 1, draws: int | None = None
) -> str | None:
    """Say why the test cannot reach alpha with this many seeds after Holm's adjustment, or None when it can."""
    draws = max(9_999, 40 * comparisons - 1) if draws is None else draws
    least = min(1.0, comparisons * smallest_p(test, seeds, draws))
    if least < alpha:
        return None
    family = f" over {comparisons} comparisons" if comparisons > 1 else ""
    told = f"{seeds} seeds cannot reach p < {alpha:g} under the {test} test{family}: its smallest p is {least:.4g}"
    if test == "permutation" and seeds > 1:
        return f"{told} with {draws} randomisations; {math.floor(comparisons / alpha)} or more are needed"
    enough = 2 if test == "permutation" else math.floor(math.log2(2 * comparisons / alpha)) + 1
    return f"{told}; {enough} seeds are needed"


def _noncentrality(freedom: float, alpha: float, power: float) -> float:
    """Return the shift, in standard errors, that a two-sided t test finds with this power.

    The non-central t as the mean over standard errors of two normal tails: SciPy's own is NaN far out.
    """
    bars = float(student_t.isf(alpha / 2, freedom)) * np.sqrt(chi2.ppf(_NODES, freedom) / freedom)

    def shortfall(shift: float) -> float:
        return float(np.mean(norm.sf(bars - shift) + norm.cdf(-bars - shift))) - power

    high = 1.0
    while shortfall(high) < 0:
        high *= 2
    return float(brentq(shortfall, 0.0, high))

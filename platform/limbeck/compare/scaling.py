"""How a result grows with size, and what it costs to reach one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher_f
from scipy.stats import t as student_t

from limbeck.compare.crossed import Array, Floats


@dataclass(frozen=True)
class ScalingCurve:
    """The least-squares line value = intercept + slope · log10(size), with what its intervals need."""

    intercept: float
    slope: float
    """Gain for ten times the size."""
    slope_low: float
    slope_high: float
    r_squared: float
    lack_of_fit_p: float | None
    """p of a straight line against free means of the sizes; None without repeats at a size or with two sizes only."""
    points: int
    level: float
    _centre: float
    _spread: float
    _residual_deviation: float

    def band(self, sizes: Array) -> tuple[Floats, Floats, Floats]:
        """Return the line at these sizes with the pointwise interval of its mean: (fit, low, high)."""
        x = np.log10(np.asarray(sizes, np.float64))
        fit = self.intercept + self.slope * x
        error = self._residual_deviation * np.sqrt(1 / self.points + (x - self._centre) ** 2 / self._spread)
        reach = float(student_t.isf((1 - self.level) / 2, self.points - 2)) * error
        return fit, fit - reach, fit + reach


def scaling_curve(sizes: Array, values: Array, level: float = 0.95) -> ScalingCurve:
    """Fit (n,) values, such as each seed's retention, against log10 of (n,) sizes, such as parameters or training rows.

    ValueError below three points or two sizes, where there is no line with an interval.
    Source: ordinary least squares, Draper & Smith, Applied Regression Analysis (1998), chapters 1 and 2.
    """
    size, y = np.asarray(sizes, np.float64), np.asarray(values, np.float64)
    if size.shape != y.shape or size.ndim != 1 or len(y) < 3 or len(np.unique(size)) < 2 or (size <= 0).any():
        raise ValueError(f"a line needs three points at two sizes above zero or more, got sizes {size.tolist()}")
    x = np.log10(size)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * y).sum() / spread)
    intercept = float(y.mean() - slope * x.mean())
    rest = float(((y - intercept - slope * x) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    deviation = math.sqrt(rest / (len(y) - 2))
    reach = float(student_t.isf((1 - level) / 2, len(y) - 2)) * deviation / math.sqrt(spread)
    fitted = 1 - rest / total if total > 0 else 1.0
    lack = _lack_of_fit(size, y, rest)
    return ScalingCurve(
        intercept, slope, slope - reach, slope + reach, fitted, lack, len(y), level, float(x.mean()), spread, deviation
    )


def cost_to_reach(trials: Sequence[tuple[float, float | None]], target: float) -> float | None:
    """Return the trial-seconds spent until the first trial with `target` or more ends, that trial included.

    `trials` are (seconds, value) in the order they ended; a failed or stopped trial has the value None and costs too.
    None where the target was never reached.
    """
    spent = 0.0
    for seconds, value in trials:
        spent += seconds
        if value is not None and value >= target:
            return spent
    return None


def _lack_of_fit(size: Floats, y: Floats, rest: float) -> float | None:
    """Return the p of Fisher's F for the line's misfit over the scatter within sizes."""
    levels = np.unique(size)
    pure = float(sum(((y[size == one] - y[size == one].mean()) ** 2).sum() for one in levels))
    repeats, misfit = len(y) - len(levels), len(levels) - 2
    if repeats < 1 or misfit < 1 or pure <= 0:
        return None
    return float(fisher_f.sf(max(0.0, rest - pure) / misfit / (pure / repeats), misfit, repeats))

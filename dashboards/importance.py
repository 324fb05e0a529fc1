"""Which varied values decide about the result: how differently they are spread among the best trials and among all.

PED-ANOVA: the Pearson divergence of a value's density among the best tenth (five at least) from its density among
all, densities by Gaussian kernels on a grid. Source: Watanabe, Bansal & Hutter, arXiv 2304.10255. Optuna, which does
the same for `limbeck importances`, is too heavy to load for a page.
"""

from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]

BEST_SHARE, FEWEST_BEST = 0.1, 5
FEWEST_TRIALS = 10
_GRID = 64


def importances(values: pd.DataFrame, score: pd.Series, way: str) -> dict[str, float]:
    """Return each column's share, summing to 1; nothing with too few trials to say, or where nothing differs."""
    score = score.astype(float)
    known = score.notna()
    values, score = values[known], score[known]
    if len(score) < FEWEST_TRIALS:
        return {}
    count = best_of(len(score))
    order = np.argsort(score.to_numpy() if way == "min" else -score.to_numpy(), kind="stable")
    best = np.zeros(len(score), bool)
    best[order[:count]] = True
    found = {str(name): divergence(column, best) for name, column in values.items() if column.nunique(dropna=True) > 1}
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}


def best_of(trials: int) -> int:
    """Return how many of so many trials count as the best: a tenth, five at least, half at most."""
    return round(min(0.5, max(BEST_SHARE, FEWEST_BEST / trials)) * trials)


def of_configurations(frame: pd.DataFrame, values: list[str], score: str, way: str) -> dict[str, float]:
    """Return the importances over configurations: seeds of one are one result, their mean."""
    if frame.empty or not values:
        return {}
    cells = frame.groupby("cell", sort=False)
    return importances(cells[values].first(), cells[score].mean(), way)


def divergence(column: pd.Series, best: np.ndarray) -> float:
    """Return Σ q (p/q − 1)² for the densities p of the best and q of all; a value that does not apply is its own."""
    place, sizes = _on_grid(column)
    p, q = (_density(place[rows], sizes) for rows in (best, np.ones(len(place), bool)))
    return float((q * (p / q - 1) ** 2).sum())


def _on_grid(column: pd.Series) -> tuple[Floats, tuple[int, bool]]:
    """Return each value's place on a grid, and (number of places, whether neighbours are alike)."""
    numeric = pd.to_numeric(column, errors="coerce")
    is_flag = column.map(lambda v: isinstance(v, (bool, str))).any()
    if is_flag or numeric.isna().any() or numeric.nunique() <= 8:
        codes, words = pd.factorize(column.astype(str), sort=True)
        return codes.astype(np.float64), (len(words), False)
    x = numeric.to_numpy(np.float64)
    if x.min() > 0 and x.max() / x.min() >= 20:
        x = np.log(x)
    return (x - x.min()) / (x.max() - x.min()) * (_GRID - 1), (_GRID, True)


def _density(places: Floats, sizes: tuple[int, bool]) -> Floats:
    count, smooth = sizes
    if not smooth:
        # One example of each beforehand: a choice that the best do not take is rare, not impossible.
        frequency = np.bincount(places.astype(np.int64), minlength=count) + 1.0
        return np.asarray(frequency / frequency.sum(), np.float64)
    width = max(1.06 * places.std() * len(places) ** -0.2, 1.0)
    grid = np.arange(count)
    near = np.exp(-0.5 * ((grid[:, None] - places) / width) ** 2).sum(axis=1) + 1e-3 * len(places) / count
    return np.asarray(near / near.sum(), np.float64)

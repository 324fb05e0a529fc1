"""Means with intervals that hold for new seeds and new test examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.compare.crossed import Array, Floats, Parts, draws, in_batches, parts, resamples


@dataclass(frozen=True)
class Resampling:
    """How finely intervals and tests are drawn."""

    level: float = 0.95
    """Coverage of intervals."""
    resamples: int = 2_000
    """Resamples behind an interval."""
    draws: int | None = None
    """Randomisations behind a p-value, never below 1/(draws + 1). Default: 9,999, more in a large family."""

    def draws_for(self, comparisons: int) -> int:
        """Return the randomisations that let Holm's adjustment of this many p-values reach 1/40."""
        return self.draws if self.draws is not None else max(9_999, 40 * comparisons - 1)


@dataclass(frozen=True)
class Interval:
    """A mean and its interval. With one seed the interval covers new test examples only, not new seeds."""

    mean: float
    low: float
    high: float
    seeds: int


def interval(scores: Array | Sequence[Array], rng: np.random.Generator, how: Resampling | None = None) -> Interval:
    """Return the mean of (S, N) scores, or the mean over tasks of several, with a stratified bootstrap interval.

    Percentiles of the mean after resampling the examples of each task with replacement, together with the seeds' part
    in its studentised parametric form; see `limbeck.compare.crossed` for the model. Resampling S seeds with replacement
    instead is too narrow by √((S−1)/S) and by normal in place of t quantiles: where seeds differ most, five cover 85 %.
    The interval stays within the range of the examples' scores; scores that are all equal make it a point.
    """
    given = parts([one[None] for one in as_tasks(scores)])
    low, high = bounds(given, rng, how or Resampling(), clip=True)
    return Interval(float(given.mean[0]), float(low[0]), float(high[0]), given.seeds)


def difference_interval(
    scores: Array | Sequence[Array],
    reference: Array | Sequence[Array],
    rng: np.random.Generator,
    how: Resampling | None = None,
) -> Interval:
    """Return the mean of scores − reference, paired by seed (row) and example (column), with its interval."""
    ours, theirs = as_tasks(scores), as_tasks(reference)
    require_paired(ours, theirs)
    given = parts([one[None] for one in ours], theirs)
    low, high = bounds(given, rng, how or Resampling())
    return Interval(float(given.mean[0]), float(low[0]), float(high[0]), given.seeds)


def bounds(given: Parts, rng: np.random.Generator, how: Resampling, *, clip: bool = False) -> tuple[Floats, Floats]:
    """Return the (B,) lower and upper ends for B samples at once."""
    sizes = [deviations.shape[1] for deviations in given.examples]
    batches = [draws(given, resamples(sizes, some, rng), rng) for some in in_batches(sizes, how.resamples)]
    tail = (1 - how.level) / 2
    low, high = given.mean + np.quantile(np.concatenate(batches, axis=1), [tail, 1 - tail], axis=1)
    # The range of single examples bounds their mean; the values of a few runs bound nothing.
    if clip and min(sizes) > 1:
        return np.maximum(low, given.lowest), np.minimum(high, given.highest)
    return low, high


def as_tasks(scores: Array | Sequence[Array]) -> tuple[Array, ...]:
    """Return the (S, N_t) arrays, one a task."""
    tasks = (scores,) if isinstance(scores, np.ndarray) else tuple(scores)
    if not tasks or any(task.ndim != 2 or 0 in task.shape or len(task) != len(tasks[0]) for task in tasks):
        raise ValueError(f"scores must be (S, N), S the same for every task, got {[np.shape(task) for task in tasks]}")
    return tasks


def require_paired(ours: Sequence[Array], theirs: Sequence[Array]) -> None:
    """Raise ValueError unless both hold scores of the same shape for every task."""
    if [task.shape for task in ours] != [task.shape for task in theirs]:
        raise ValueError(f"unpaired: {[task.shape for task in ours]} against {[task.shape for task in theirs]}")

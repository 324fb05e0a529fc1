"""The model under every interval and test: scores that vary over seeds and, crossed with them, over test examples.

A score of seed s on example i is x_si = μ + a_s + b_i + e_si: a seed is good or bad on every example, an example easy
or hard for every seed, and the rest is noise; all three have mean zero and are drawn anew for a new seed and a new
example. The mean over S seeds and N examples then varies by

    V = σ_a²/S + σ_e²/(S·N)  +  σ_b²/N,      estimated as  v_a + v_b  with
    v_a = s²(seed means)/S,                  v_b = max(0, MS_examples − MS_residual)/(S·N),
    degrees of freedom  V² / (v_a²/(S − 1) + v_b²/(N − 1)).

Flipping or resampling single (seed, example) pairs would take the S·N scores for independent and call the noise of
seeds an effect; flipping seeds alone takes the test set for the whole population. So the two parts are drawn apart. The
seeds' part is rotated at random: five seeds can then reach any p, where 2⁵ sign flips stop at 0.0625; this needs seed
means that are near normal, as means of many examples are. The examples' part is flipped (tests) or resampled
(intervals) example by example, without an assumption on its shape.

What is left is that v_a is estimated from few seeds. Half of the draws are divided, as a whole, by a draw of their own
standard error with the degrees of freedom above, which is a little bold when both parts matter; the other half divide
the seeds' part alone by its own (Behrens and Fisher), which is a little cautious. A p-value is the mean of both. With
σ_b = 0 either is exactly Student's t over seeds. tests/benchmarks/bench_compare.py prints the false-positive rate of
every mixture over 2,000 nulls: .0405 to .0590 at α = 0.05 for five seeds or ten, 0.037 to 0.057 for three; two seeds
may reach 0.08. Intervals of 95 % cover 93.85 to 95.85 % for five seeds or ten.

Source: variance of crossed samples, Searle, Casella & McCulloch, Variance Components (1992), chapter 4; degrees of
freedom, Satterthwaite, Biometrics Bulletin 2 (1946), 110-114; Fisher, Annals of Eugenics 6 (1935), 391-398; rotation as
the continuous kin of sign flips, Langsrud, Statistics and Computing 15 (2005), 53-60; strata, Agarwal et al., arXiv
2108.13264.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
_CHUNK = 1 << 21
"""Scores turned into float64 at a time: 16 MB."""
_WEIGHTS = 1 << 23
"""Weights of examples held at a time: 32 MB."""


@dataclass(frozen=True)
class Parts:
    """What B samples of equal shape, each over S seeds and the examples of T tasks, are drawn from."""

    mean: Floats  # (B,)
    seed_means: Floats  # (B, S)
    seed_variance: Floats  # (B,): v_a
    example_variance: Floats  # (B,): v_b
    freedom: Floats  # (B,)
    examples: tuple[NDArray[np.float32], ...]  # T of (B, N_t): deviations of examples whose mean has the variance v_b
    lowest: Floats  # (B,): of the scores
    highest: Floats  # (B,)

    @property
    def seeds(self) -> int:
        return int(self.seed_means.shape[1])


@dataclass(frozen=True)
class _Task:
    """Sums over one task's (B, S, N) scores."""

    seed_means: Floats  # (B, S)
    example_means: Floats  # (B, N)
    residual: Floats  # (B,): mean square
    lowest: Floats  # (B,)
    highest: Floats  # (B,)


def parts(tasks: Sequence[Array], minus: Sequence[Array] | None = None) -> Parts:
    """Take apart T tasks' (B, S, N_t) scores, or their differences to one (S, N_t) sample a task.

    Tasks weigh the same whatever their number of examples. One seed: its noise cannot be known and v_a is 0.
    """
    sums = [_sums(x, None if minus is None else minus[t]) for t, x in enumerate(tasks)]
    weight = 1 / len(sums)
    seed_means = np.asarray(np.mean([one.seed_means for one in sums], axis=0), np.float64)
    seeds = seed_means.shape[1]
    v_a = seed_means.var(axis=1, ddof=1) / seeds if seeds > 1 else np.zeros(len(seed_means))
    if minus is not None and seeds > 1:
        v_a = np.maximum(v_a, _step_variance(sums) * weight**2 / seeds)
    examples, variances, per_freedom = [], [], np.zeros(len(seed_means))
    for one in sums:
        deviations, v_b = _example_part(one, seeds)
        examples.append((deviations * weight).astype(np.float32))
        variances.append(v_b * weight**2)
        per_freedom += variances[-1] ** 2 / max(1, one.example_means.shape[1] - 1)
    total_b = np.sum(variances, axis=0)
    spread = v_a**2 / max(1, seeds - 1) + per_freedom
    freedom = np.divide((v_a + total_b) ** 2, spread, out=np.ones_like(v_a), where=spread > 0)
    lowest = np.asarray(np.mean([one.lowest for one in sums], axis=0), np.float64)
    highest = np.asarray(np.mean([one.highest for one in sums], axis=0), np.float64)
    return Parts(seed_means.mean(axis=1), seed_means, v_a, total_b, freedom, tuple(examples), lowest, highest)


def in_batches(sizes: Sequence[int], count: int) -> list[int]:
    """Split `count` draws over samples of these numbers of examples into batches that fit into memory."""
    step = max(64, _WEIGHTS // max(1, sum(sizes)))
    return [min(step, count - start) for start in range(0, count, step)]


def flips(sizes: Sequence[int], count: int, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Return for each task (N_t, count) random signs."""
    return [rng.integers(0, 2, (n, count), dtype=np.int8).astype(np.float32) * 2 - 1 for n in sizes]


def resamples(sizes: Sequence[int], count: int, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Return for each task (N_t, count): how often each example is drawn in N_t draws with replacement."""
    counts = []
    for n in sizes:
        drawn = rng.integers(0, n, (n, count)) * count + np.arange(count)
        counts.append(np.bincount(drawn.reshape(-1), minlength=n * count).reshape(n, count).astype(np.float32))
    return counts


def draws(given: Parts, weights: Sequence[NDArray[np.float32]], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return (B, count) draws of the mean's deviation from μ, with `weights` from `flips` or `resamples`.

    Samples share the examples' weights and the seeds' rotation, so that what differs between rows is their data.
    """
    count = weights[0].shape[1]
    bold = count // 2
    rotated = np.concatenate([rng.standard_normal((bold,)), rng.standard_t(max(1, given.seeds - 1), (count - bold,))])
    out: NDArray[np.float32] = (np.sqrt(given.seed_variance)[:, None] * rotated).astype(np.float32)
    for deviations, weight in zip(given.examples, weights, strict=True):
        out += (deviations / np.float32(deviations.shape[1])) @ weight
    half = (given.freedom / 2).astype(np.float32)[:, None]
    gamma = rng.standard_gamma(np.broadcast_to(half, (len(half), bold)), dtype=np.float32)
    # Few degrees of freedom let a draw round down to zero.
    out[:, :bold] *= np.sqrt(half / np.maximum(gamma, np.float32(1e-30)))
    return out


def _sums(scores: Array, minus: Array | None) -> _Task:
    batch, seeds, examples = scores.shape
    seed_means, example_means = np.empty((batch, seeds)), np.empty((batch, examples))
    residual, lowest, highest = np.zeros(batch), np.empty(batch), np.empty(batch)
    step = max(1, _CHUNK // (seeds * examples))
    other = None if minus is None else minus.astype(np.float64)
    for start in range(0, batch, step):
        rows = slice(start, start + step)
        x = scores[rows].astype(np.float64)
        if other is not None:
            x -= other
        lowest[rows], highest[rows] = x.min(axis=(1, 2)), x.max(axis=(1, 2))
        seed_means[rows], example_means[rows] = x.mean(axis=2), x.mean(axis=1)
        if seeds > 1 and examples > 1:
            x -= example_means[rows, None, :]
            x -= (seed_means[rows] - seed_means[rows].mean(axis=1, keepdims=True))[:, :, None]
            residual[rows] = np.einsum("bsn,bsn->b", x, x) / ((seeds - 1) * (examples - 1))
    return _Task(seed_means, example_means, residual, lowest, highest)


def _example_part(task: _Task, seeds: int) -> tuple[Floats, Floats]:
    """Return the (B, N) deviations of the examples, shrunk to what the seeds agree on, and the variance v_b (B,)."""
    n = task.example_means.shape[1]
    if n == 1:
        return np.zeros_like(task.example_means), np.zeros(len(task.example_means))
    deviations = task.example_means - task.example_means.mean(axis=1, keepdims=True)
    between = np.einsum("bn,bn->b", deviations, deviations) / (n - 1)
    agreed = np.maximum(0.0, between - task.residual / seeds)
    shrink = np.sqrt(np.divide(agreed, between, out=np.zeros_like(between), where=between > 0) * (n / (n - 1)))
    return deviations * shrink[:, None], agreed / n


def _step_variance(tasks: Sequence[_Task]) -> Floats:
    """Return (B,) h²/12 for the step h in which seed means come.

    Two seeds that both win by three examples look like seeds without any noise; they are only as equal as counting
    can tell.
    """
    sizes = [task.example_means.shape[1] for task in tasks]
    if min(sizes) == 1:
        return np.zeros(len(tasks[0].lowest))
    steps = [np.maximum(-t.lowest, t.highest) / n for t, n in zip(tasks, sizes, strict=True)]
    return np.asarray(np.min(steps, axis=0) ** 2 / 12, np.float64)

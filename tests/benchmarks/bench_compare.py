"""Print what the statistics promise: false positives, coverage, time and memory.

Not part of the test suite: `python tests/benchmarks/bench_compare.py`, with `--simulations` null experiments a rate.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))

from limbeck.compare import Cell, Resampling, ablation_table, retention_scores
from limbeck.compare.crossed import parts
from limbeck.compare.intervals import bounds
from limbeck.compare.paired import p_values

HOW = Resampling(resamples=1_000)
Sampler = Callable[[np.random.Generator, int, int, int], np.ndarray]


def crossed(seed: float, example: float, noise: float) -> Sampler:
    """Normal differences; `seed` is in units of the deviation that weighs as much as the examples'."""

    def sample(rng: np.random.Generator, many: int, seeds: int, examples: int) -> np.ndarray:
        d = noise * rng.standard_normal((many, seeds, examples), np.float32)
        d += np.float32(seed * np.sqrt(seeds / examples)) * rng.standard_normal((many, seeds, 1), np.float32)
        return d + np.float32(example) * rng.standard_normal((many, 1, examples), np.float32)

    return sample


def answers(seed: float, example: float) -> Sampler:
    """Differences of 0/1 answers: shared difficulty 2 on the logit scale, a seed's luck, a cell's taste in examples."""

    def sample(rng: np.random.Generator, many: int, seeds: int, examples: int) -> np.ndarray:
        difficulty = 1.5 + rng.normal(0, 2, (many, 1, examples))
        cells = []
        for _ in range(2):
            logits = difficulty + rng.normal(0, seed, (many, seeds, 1)) + rng.normal(0, example, (many, 1, examples))
            cells.append(rng.random(logits.shape, np.float32) < 1 / (1 + np.exp(-logits)))
        return cells[0].astype(np.float32) - cells[1]

    return sample


NULLS = {
    "noise only": crossed(0, 0, 1),
    "seeds only": crossed(1, 0, 0.01),
    "examples only": crossed(0, 1, 0.1),
    "seeds = examples": crossed(1, 1, 1),
    "seeds = examples/4": crossed(0.5, 1, 1),
    "0/1, same chances": answers(0, 0),
    "0/1, seeds .3": answers(0.3, 0),
    "0/1, seeds .3 taste .5": answers(0.3, 0.5),
    "0/1, seeds .1 taste 1": answers(0.1, 1),
}


def naive_coverage(d: np.ndarray, rng: np.random.Generator) -> float:
    """Coverage of the percentile bootstrap that resamples seeds and examples, both with replacement, and no more."""
    _, seeds, examples = d.shape
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), 1_000).astype(np.float32) / seeds
    of_examples = rng.multinomial(examples, np.full(examples, 1 / examples), 1_000).astype(np.float32) / examples
    means = np.einsum("ks,bsk->bk", of_seeds, d.astype(np.float32) @ of_examples.T)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    return float(np.mean((low <= 0) & (high >= 0)))


def rates(simulations: int) -> None:
    print(
        f"{'null':<24}{'S':>3}{'N':>6}{'p<=.05':>9}{'p<=.01':>9}{'p<=.001':>9}{'cover 95%':>11}{'plain bootstrap':>17}"
    )
    rng = np.random.default_rng(0)
    for seeds, examples in ((2, 400), (3, 400), (5, 400), (5, 1_600), (10, 400)):
        for name, null in NULLS.items():
            p, covered, naive = [], [], []
            for start in range(0, simulations, 500):
                d = null(rng, min(500, simulations - start), seeds, examples)
                given = parts([d], [np.zeros(d.shape[1:])])
                p.append(p_values(given, 4_999, rng))
                low, high = bounds(given, rng, HOW)
                covered.append((low <= 0) & (high >= 0))
                if start == 0:
                    naive.append(naive_coverage(d, rng))
            false = [np.mean(np.concatenate(p) <= alpha) for alpha in (0.05, 0.01, 0.001)]
            told = "".join(f"{rate:>9.4f}" for rate in false)
            print(f"{name:<24}{seeds:>3}{examples:>6}{told}{np.mean(np.concatenate(covered)):>11.4f}{naive[0]:>17.3f}")


def cost() -> None:
    """The table of 1,000 cells by accuracy, whose scores are booleans, and by retention, whose are float64."""
    rng = np.random.default_rng(1)
    difficulty = rng.random(2_000)
    teacher = difficulty < 0.9
    for measure in ("accuracy", "retention"):
        cells = []
        for i in range(1_000):
            right = difficulty < 0.85 + rng.normal(0, 0.1, (10, 2_000))
            kept = retention_scores(right, teacher) if measure == "retention" else right
            assert kept is not None
            cells.append(Cell(f"cell {i}", tuple(range(10)), (kept,)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        start = time.perf_counter()
        rows = ablation_table(cells, "cell 0", rng)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        least = min(row.p_adjusted for row in rows[1:] if row.p_adjusted is not None)
        print(f"1,000 cells x 10 seeds x 2,000 examples by {measure}: {seconds:.1f} s, peak {peak:.0f} MiB", end="")
        print(f" ({before:.0f} before); smallest adjusted p {least:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2_000)
    chosen = parser.parse_args()
    cost()
    rates(chosen.simulations)

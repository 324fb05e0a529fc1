"""How much paired differences vary, and what a design of so many seeds can therefore show."""

from collections.abc import Sequence

import numpy as np

from limbeck.compare import Cell, DesignPower, Noise, design_power
from limbeck.compare.crossed import parts

_BOLD = "Two seeds make the test bold: up to 8 % false positives at alpha = 0.05. Three are enough for it to hold."
"""As tests/benchmarks/bench_compare.py measures it."""


def paired_noise(cells: Sequence[Cell], reference: str) -> Noise | None:
    """Return how differences to the reference vary over seeds and over examples, on average over cells.

    The examples' part is that of examples hard for one configuration and not for the other, whatever the seed:
    `limbeck.compare.crossed`. Several tasks count as the mean over them. None without two seeds in common.
    """
    base = next(cell for cell in cells if cell.name == reference)
    from_seeds, from_examples = [], []
    for cell in cells:
        shared = tuple(seed for seed in cell.seeds if seed in base.seeds)
        if cell is not base and len(shared) > 1:
            given = parts([scores[None] for scores in cell.at(shared)], base.at(shared))
            from_seeds.append(float(given.seed_variance[0]) * len(shared))
            from_examples.append(float(given.example_variance[0]))
    if not from_seeds:
        return None
    examples = sum(base.sizes)
    return Noise(float(np.sqrt(np.mean(from_seeds))), examples, float(np.mean(from_examples)) * examples)


def power_notes(power: DesignPower, unit: str) -> list[str]:
    """Return what a design can detect, in sentences: in `unit` where the noise is known; tests that cannot at all."""
    family = f", over {power.comparisons} comparisons" if power.comparisons > 1 else ""
    at = f"(alpha = {power.alpha:g}, power {100 * power.power:.0f} %{family})"
    if power.seeds < 2:
        return ["One seed detects nothing: what seeds do to the results cannot be known from it."]
    size = f"{power.effect_size:.2f} standard deviations between seeds"
    if power.difference is not None:
        size = f"{_points(power.difference)} of {unit}"
    return [f"Smallest detectable difference: {size} {at}.", *([_BOLD] if power.seeds == 2 else [])]


def _points(share: float) -> str:
    return f"{100 * share:.2g} points"


def power_of(cells: Sequence[Cell], reference: str, comparisons: int) -> DesignPower | None:
    """Return what a finished comparison could have detected; None where nothing was paired."""
    known = paired_noise(cells, reference)
    base = next(cell for cell in cells if cell.name == reference)
    return None if known is None else design_power(len(base.seeds), comparisons, known)

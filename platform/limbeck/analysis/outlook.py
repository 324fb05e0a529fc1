"""What an ablation will be able to show, said before it runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.analysis.asked import REFERENCE
from limbeck.analysis.evidence import read_evidence, retention_cells
from limbeck.analysis.noise import paired_noise, power_notes
from limbeck.analysis.runs import read_groups
from limbeck.compare import Noise, alias_groups, design_power, factorial_design
from limbeck.errors import UserError
from limbeck.store import Reader

_FEWEST_SEEDS = 3
_SWEEPS_LOOKED_AT = 20
_MIXED = {
    3: "a factor's effect is mixed with interactions of two others",
    4: "interactions of two factors are mixed with each other",
}


@dataclass(frozen=True)
class KnownNoise:
    """How much retention varied between paired cells in an earlier sweep."""

    sweep: str
    noise: Noise


def known_noise(reader: Reader, task: str) -> KnownNoise | None:
    """Return the noise of the newest sweep on this task with two cells on three seeds; None where there is none."""
    sweeps = [sweep for sweep in reader.sweeps() if sweep.task == task and sweep.kind != "search"]
    for sweep in sweeps[:_SWEEPS_LOOKED_AT]:
        try:
            _, _, groups = read_groups(reader, sweep.name)
            cells = retention_cells(groups[0], read_evidence(reader, sweep.name, groups[0], "test")) or []
        except UserError:
            continue
        cells = [cell for cell in cells if len(cell.seeds) >= _FEWEST_SEEDS]
        names = [cell.name for cell in cells]
        if len(cells) > 1:
            found = paired_noise(cells, REFERENCE if REFERENCE in names else names[0])
            if found is not None:
                return KnownNoise(sweep.name, found)
    return None


def comparisons_of(design: str, cells: int, factors: Sequence[str], resolution: int | None, tasks: int) -> int:
    """Return how many p-values an ablation makes: cells against the reference, or a factorial design's effects.

    `cells` are those of all tasks; with several tasks there is one more comparison a cell, over all of them.
    """
    sections = tasks + 1 if tasks > 1 else 1
    if design == "factorial":
        return len(alias_groups(factorial_design(factors, resolution))) * sections
    return (cells // max(1, tasks) - 1) * sections


def fraction(factors: Sequence[str], resolution: int | None) -> list[str]:
    """Say what a fraction of a factorial design cannot tell apart; nothing of a full one."""
    design = factorial_design(factors, resolution)
    if design.resolution is None:
        return []
    runs = f"{len(design.levels)} of {2 ** len(factors)} combinations"
    mixed = _MIXED.get(design.resolution, "effects of one and two factors are mixed with those of three or more alone")
    return [f"A fraction of resolution {design.resolution}, {runs} ({'; '.join(design.generators)}): {mixed}."]


def outlook(seeds: int, comparisons: int, known: KnownNoise | None) -> list[str]:
    """Return what the design can detect at alpha 0.05 with power 0.8, and which tests it cannot serve at all."""
    power = design_power(seeds, comparisons, known.noise if known else None)
    lines = power_notes(power, "retention")
    if known:
        lines = [f"{line} Noise as in sweep {known.sweep}." for line in lines]
    elif np.isfinite(power.effect_size):
        lines.append("How much that is in points is known once an ablation on this task has run.")
    lines += [f"warning: {warning}" for warning in power.warnings]
    if power.warnings and not any("permutation" in warning for warning in power.warnings):
        lines.append("The permutation test over seeds and examples, which `limbeck ablation` uses, can reach it.")
    return lines

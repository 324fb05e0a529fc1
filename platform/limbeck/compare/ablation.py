"""The ablation table: every cell against the reference, paired by seed and example."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.compare.cells import Cell, check_cells, shared_seeds
from limbeck.compare.crossed import parts
from limbeck.compare.intervals import Interval, Resampling, bounds
from limbeck.compare.paired import cohens_dz, holm, p_values, probability_of_improvement


@dataclass(frozen=True)
class AblationRow:
    """One cell. A number that the cell's runs cannot give is None: nothing is filled in or averaged over a gap."""

    cell: str
    n_seeds: int
    mean: float | None
    low: float | None
    high: float | None
    n_pairs: int
    """Seeds that the cell shares with the reference; the differences are over these."""
    difference: float | None
    """Cell minus reference."""
    difference_low: float | None
    difference_high: float | None
    effect_size: float | None
    """Cohen's d_z over the paired seeds."""
    p: float | None
    p_adjusted: float | None
    missing_seeds: tuple[int, ...]
    probability_of_improvement: float | None
    """Chance that a run of the cell beats a run of the reference."""


@dataclass(frozen=True)
class _Difference:
    interval: Interval
    effect_size: float | None
    p: float | None


def ablation_table(
    cells: Sequence[Cell], reference: str, rng: np.random.Generator, how: Resampling | None = None
) -> list[AblationRow]:
    """Return one row a cell, in the order given; the reference's row has no difference.

    Intervals and p-values hold for new seeds and new test examples; p-values are adjusted by Holm over the cells
    tested. A cell with one seed has an interval over examples only and no p. Raises UserError for a reference that is
    not among the cells, for names that occur twice, and for cells scored on different test examples.
    """
    check_cells(cells, reference)
    how = how or Resampling()
    base = next(cell for cell in cells if cell.name == reference)
    means = _means(cells, rng, how)
    differences = _differences([cell for cell in cells if cell is not base], base, rng, how)
    tested = list(differences)
    adjusted = dict(zip(tested, holm([differences[name].p for name in tested]), strict=True))
    return [
        _row(cell, base, means.get(cell.name), differences.get(cell.name), adjusted.get(cell.name)) for cell in cells
    ]


def _row(
    cell: Cell, base: Cell, mean: Interval | None, found: _Difference | None, adjusted: float | None
) -> AblationRow:
    gap = found.interval if found else None
    chance = None
    if cell is not base and cell.seeds and base.seeds:
        chance = probability_of_improvement(_task_values(cell), _task_values(base))
    return AblationRow(
        cell=cell.name,
        n_seeds=len(cell.seeds),
        mean=mean.mean if mean else None,
        low=mean.low if mean else None,
        high=mean.high if mean else None,
        n_pairs=gap.seeds if gap else 0,
        difference=gap.mean if gap else None,
        difference_low=gap.low if gap else None,
        difference_high=gap.high if gap else None,
        effect_size=found.effect_size if found else None,
        p=found.p if found else None,
        p_adjusted=adjusted,
        missing_seeds=cell.missing,
        probability_of_improvement=chance,
    )


def _means(cells: Sequence[Cell], rng: np.random.Generator, how: Resampling) -> dict[str, Interval]:
    groups: dict[int, list[Cell]] = {}
    for cell in cells:
        if cell.seeds:
            groups.setdefault(len(cell.seeds), []).append(cell)
    out: dict[str, Interval] = {}
    for seeds, group in groups.items():
        given = parts([np.stack(tasks) for tasks in zip(*(cell.scores for cell in group), strict=True)])
        low, high = bounds(given, rng, how, clip=True)
        for i, cell in enumerate(group):
            out[cell.name] = Interval(float(given.mean[i]), float(low[i]), float(high[i]), seeds)
    return out


def _differences(
    cells: Sequence[Cell], base: Cell, rng: np.random.Generator, how: Resampling
) -> dict[str, _Difference]:
    """Take cells that share the same seeds with the reference together: one set of resamples serves them all."""
    groups: dict[tuple[int, ...], list[Cell]] = {}
    for cell in cells:
        if cell.seeds and (shared := shared_seeds([base, cell])):
            groups.setdefault(shared, []).append(cell)
    count = how.draws_for(len(cells))
    out: dict[str, _Difference] = {}
    for seeds, group in groups.items():
        stacked = [np.stack(tasks) for tasks in zip(*(cell.at(seeds) for cell in group), strict=True)]
        given = parts(stacked, base.at(seeds))
        low, high = bounds(given, rng, how)
        p = p_values(given, count, rng).tolist() if len(seeds) > 1 else [None] * len(group)
        for i, cell in enumerate(group):
            gap = Interval(float(given.mean[i]), float(low[i]), float(high[i]), len(seeds))
            out[cell.name] = _Difference(gap, cohens_dz(given.seed_means[i]), p[i])
    return out


def _task_values(cell: Cell) -> list[np.ndarray]:
    return [scores.mean(axis=1, dtype=np.float64) for scores in cell.scores]

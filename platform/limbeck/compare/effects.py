"""Main effects and interactions of a two-level design, as paired contrasts of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.compare.cells import Cell, check_cells, shared_seeds
from limbeck.compare.crossed import parts
from limbeck.compare.designs import AliasGroup, Design, alias_groups, term_name
from limbeck.compare.intervals import Resampling, bounds
from limbeck.compare.paired import cohens_dz, holm, p_values


@dataclass(frozen=True)
class EffectRow:
    """One effect: mean of the cells where the term is +1 minus mean of those where it is −1.

    Without a seed that every cell has, nothing is estimated; `missing` says what is not there.
    """

    term: str
    aliases: tuple[str, ...]
    """Terms that this design cannot tell from `term`: they enter the estimate too, with the sign printed."""
    n_seeds: int
    estimate: float | None
    low: float | None
    high: float | None
    effect_size: float | None
    p: float | None
    p_adjusted: float | None
    missing: tuple[str, ...]


def factorial_effects(
    design: Design, cells: Sequence[Cell], rng: np.random.Generator, order: int = 2, how: Resampling | None = None
) -> list[EffectRow]:
    """Return the effects of up to `order` factors from one cell a run of the design, in the design's order.

    Each seed and example gives its own contrast of the cells, so that interval and test are those of a paired
    difference. p-values are adjusted over the effects returned.
    Source: Box, Hunter & Hunter, Statistics for Experimenters, 2nd edition (2005), chapter 5.
    """
    if len(cells) != len(design.levels):
        raise ValueError(f"the design has {len(design.levels)} runs, got {len(cells)} cells")
    check_cells(cells)
    how = how or Resampling()
    groups = alias_groups(design, order)
    missing = tuple(f"{cell.name}: seed {seed}" for cell in cells for seed in cell.missing)
    seeds = shared_seeds(cells)
    if not seeds:
        return [_empty(group, missing) for group in groups]
    signs = np.stack([design.column(group.term) for group in groups]) * (2 / len(cells))
    contrasts = [
        np.tensordot(signs, np.stack(task), axes=1) for task in zip(*(c.at(seeds) for c in cells), strict=True)
    ]
    given = parts(contrasts, [np.zeros(one.shape[1:]) for one in contrasts])
    low, high = bounds(given, rng, how)
    tested = len(seeds) > 1
    p = p_values(given, how.draws_for(len(groups)), rng).tolist() if tested else [None] * len(groups)
    return [
        EffectRow(
            term=term_name(group.term),
            aliases=group.names(),
            n_seeds=len(seeds),
            estimate=float(given.mean[i]),
            low=float(low[i]),
            high=float(high[i]),
            effect_size=cohens_dz(given.seed_means[i]),
            p=p[i],
            p_adjusted=adjusted,
            missing=missing,
        )
        for i, (group, adjusted) in enumerate(zip(groups, holm(p), strict=True))
    ]


def _empty(group: AliasGroup, missing: tuple[str, ...]) -> EffectRow:
    return EffectRow(term_name(group.term), group.names(), 0, None, None, None, None, None, None, missing)

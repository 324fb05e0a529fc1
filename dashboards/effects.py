"""The ablation's numbers: which cells there are, what each factor does, and what the design could show at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import cells
import data
import plan_text
from limbeck.compare import (
    AblationRow,
    Cell,
    DesignPower,
    EffectRow,
    Noise,
    ablation_table,
    design_power,
    factorial_design,
    factorial_effects,
    make_cell,
)
from limbeck.report import Column, Table
from limbeck.store import SweepRow

REFERENCE = "reference"


@dataclass(frozen=True)
class Findings:
    """What an ablation found on one test set."""

    cells: tuple[Cell, ...]
    reference: str
    basis: str
    rows: tuple[AblationRow, ...]
    effects: tuple[EffectRow, ...]
    """Main effects and interactions; empty unless the design is factorial and complete."""
    power: DesignPower | None


def tasks(frame: pd.DataFrame) -> list[str]:
    """Return the tasks of an ablation over several; nothing for one."""
    found = {str(cell).rpartition("@")[2] for cell in frame["cell"].unique() if "@" in str(cell)}
    return sorted(found)


@st.cache_resource(show_spinner="Resampling seeds and examples…", max_entries=32)
def _findings(url: str, name: str, version: str, split: str, task: str | None, _sweep: SweepRow) -> Findings:
    frame = data.frame(_sweep)
    runs = cells.runs_by_cell(_sweep, frame)
    if task is not None:
        runs = [one for one in runs if one.name.endswith(f"@{task}")]
    found, basis = cells.retention_cells(runs, split)
    if task is not None:
        found = [Cell(c.name.removesuffix(f"@{task}"), c.seeds, c.scores, c.missing) for c in found]
    reference = next((c.name for c in found if c.name == REFERENCE), found[0].name)
    rng = np.random.default_rng(0)
    rows = ablation_table(found, reference, rng)
    return Findings(tuple(found), reference, basis, tuple(rows), _effects(_sweep, found, rng), _power(found, reference))


def findings(sweep: SweepRow, split: str, task: str | None) -> Findings:
    """Return the ablation's numbers on a split. UserError where its cells cannot be compared."""
    return _findings(data.database(), sweep.name, data.version(sweep), split, task, sweep)


def _effects(sweep: SweepRow, found: Sequence[Cell], rng: np.random.Generator) -> tuple[EffectRow, ...]:
    asked: Any = plan_text.parsed(sweep.plan).get("ablate") or {}
    if asked.get("design") != "factorial" or not isinstance(asked.get("factors"), dict):
        return ()
    design = factorial_design(list(asked["factors"]), asked.get("resolution"))
    by_name = {cell.name: cell for cell in found}
    names = ["+".join(f for f, on in zip(design.factors, row, strict=True) if on > 0) for row in design.levels]
    every = [by_name.get(name or REFERENCE) or make_cell(name, {}, ()) for name in names]
    return tuple(factorial_effects(design, every, rng))


def noise(found: Sequence[Cell], reference: str) -> Noise | None:
    """Return how the paired differences to the reference vary, over seeds and over examples, on average over cells."""
    base = next(cell for cell in found if cell.name == reference)
    seeds, examples = [], []
    for cell in found:
        shared = tuple(seed for seed in cell.seeds if seed in base.seeds)
        if cell is base or len(shared) < 2:
            continue
        gap = cell.at(shared)[0] - base.at(shared)[0]
        seeds.append(gap.mean(axis=1).var(ddof=1))
        if gap.shape[1] > 1:
            within = gap.var(axis=0, ddof=1).mean() / len(shared)
            examples.append(max(0.0, gap.mean(axis=0).var(ddof=1) - within))
    if not seeds:
        return None
    rows = base.sizes[0] if base.sizes and base.sizes[0] > 1 else None
    return Noise(float(np.sqrt(np.mean(seeds))), rows, float(np.mean(examples)) if examples else 0.0)


def _power(found: Sequence[Cell], reference: str) -> DesignPower | None:
    known = noise(found, reference)
    if known is None:
        return None
    seeds = max(len(cell.seeds) for cell in found)
    return design_power(seeds, len(found) - 1, known)


def table(found: Findings, caption: str) -> Table:
    """Return the ablation as a table for papers: differences and intervals in shares of the teacher."""
    columns = (
        Column("cell", "configuration"),
        Column("seeds", kind="text"),
        Column("retention", kind="percent", best="max"),
        Column("low", "95 % low", "percent"),
        Column("high", "95 % high", "percent"),
        Column("difference", "difference to reference", "percent", signed=True),
        Column("difference_low", "low", "percent", signed=True),
        Column("difference_high", "high", "percent", signed=True),
        Column("effect_size", "d_z", "number", digits=2, signed=True),
        Column("p", kind="number", digits=4),
        Column("p_adjusted", "p (Holm)", "number", digits=4),
        Column("improvement", "P(better)", "percent", digits=0),
    )
    rows = []
    for row in found.rows:
        planned = row.n_seeds + len(row.missing_seeds)
        numbers = (row.mean, row.low, row.high, row.difference, row.difference_low, row.difference_high)
        tests = (row.effect_size, row.p, row.p_adjusted, row.probability_of_improvement)
        rows.append((row.cell, f"{row.n_seeds} of {planned}", *numbers, *tests))
    notes = [f"Paired by seed and {found.basis}; p-values adjusted by Holm over the cells tested."]
    notes += [
        f"{r.cell}: no result for seed {', '.join(map(str, r.missing_seeds))}" for r in found.rows if r.missing_seeds
    ]
    return Table(columns, tuple(rows), caption, tuple(notes))


def effects_table(effects: Sequence[EffectRow], caption: str) -> Table:
    """Return a factorial design's effects as a table; what they cannot be told from only where there is something."""
    aliased = any(effect.aliases for effect in effects)
    columns = (
        Column("term"),
        *((Column("aliases", "cannot be told from"),) if aliased else ()),
        Column("seeds", kind="number"),
        Column("estimate", "effect", "percent", signed=True),
        Column("low", kind="percent", signed=True),
        Column("high", kind="percent", signed=True),
        Column("effect_size", "d_z", "number", digits=2, signed=True),
        Column("p", kind="number", digits=4),
        Column("p_adjusted", "p (Holm)", "number", digits=4),
    )
    rows = []
    for e in effects:
        names = (e.term, ", ".join(e.aliases)) if aliased else (e.term,)
        rows.append((*names, e.n_seeds, e.estimate, e.low, e.high, e.effect_size, e.p, e.p_adjusted))
    return Table(columns, tuple(rows), caption, tuple(f"missing: {what}" for what in effects[0].missing))

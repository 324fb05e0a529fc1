"""Cells of any sweep as `limbeck.analysis` scores them: what a page compares is what the command line compares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

import data
from limbeck.analysis.evidence import Evidence, read_evidence, retention_cells
from limbeck.analysis.intervals import intervals
from limbeck.analysis.runs import Group
from limbeck.compare import Cell, Interval, Resampling
from limbeck.errors import Problem, UserError
from limbeck.store import SweepRow

QUICK = Resampling(resamples=1000)
RESAMPLING_SEED = 0
"""Of resampling and randomisation: the same results give the same page."""


@dataclass(frozen=True)
class Scored:
    """Cells on one test set, and what they were scored by."""

    cells: tuple[Cell, ...]
    """Mean score: retention."""
    evidence: Evidence

    @property
    def by_example(self) -> bool:
        return self.evidence.by_example


def test_splits(frame: pd.DataFrame) -> list[str]:
    """Return the test sets that students were read on, the task's own first."""
    begin = "metric:teacher/"
    found = {c.removeprefix(begin).rpartition("/")[0] for c in frame.columns if c.startswith(begin)}
    return sorted(found - {"selection", ""}, key=lambda split: (split != "test", split))


def trials_of(frame: pd.DataFrame, cell: str) -> dict[int, str]:
    """Return seed -> complete trial of a cell."""
    done = frame[(frame["cell"] == cell) & (frame["state"] == "complete")]
    return dict(zip(done["seed"].astype(int), done["trial"], strict=True))


def _group(sweep: SweepRow, names: Sequence[str]) -> Group:
    """Return the named cells with their complete trials, of which few are read: a sweep may have thousands."""
    frame = data.frame(sweep)
    seeds = tuple(sorted({int(seed) for seed in frame.loc[frame["cell"].isin(names), "seed"]}))
    complete = {
        name: {seed: data.trial(sweep, trial) for seed, trial in trials_of(frame, name).items()} for name in names
    }
    return Group(sweep.task, seeds, complete, {})


@st.cache_resource(show_spinner=False, max_entries=256)
def _scored(url: str, name: str, version: str, names: tuple[str, ...], split: str, _sweep: SweepRow) -> Scored:
    group = _group(_sweep, names)
    evidence = read_evidence(data.reader(), name, group, split)
    found = retention_cells(group, evidence)
    if found is None:
        what = f"the teacher's {evidence.metric} on {split} is not above zero, so that retention is no number"
        raise UserError(Problem(f"sweep {name}", what))
    return Scored(tuple(found), evidence)


def scored(sweep: SweepRow, names: Sequence[str], split: str) -> Scored:
    """Return cells of one sweep and one task, scored on a split. UserError: they were not measured there alike."""
    return _scored(data.database(), sweep.name, data.version(sweep), tuple(names), split, sweep)


def retention_intervals(found: Scored) -> dict[str, Interval]:
    """Return each cell's mean retention with its 95 % interval; cells without a result are absent."""
    samples = {cell.name: cell.scores for cell in found.cells if cell.seeds}
    return intervals(samples, np.random.default_rng(RESAMPLING_SEED), QUICK)


def told(found: Scored, interval: Interval) -> str:
    """Return what an interval is over, in words."""
    seeds = f"{interval.seeds} seed{'s' if interval.seeds != 1 else ''}"
    if interval.seeds == 1:
        over = "over test examples alone" if found.by_example else "unknown: one number of one run"
    else:
        over = "over seeds and test examples" if found.by_example else "over seeds alone"
    return f"{seeds}, interval {over}"

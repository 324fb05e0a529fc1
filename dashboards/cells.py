"""From stored predictions to cells that `limbeck.compare` takes: seeds by test examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

import data
from limbeck.compare import Cell, Interval, Resampling, interval, make_cell, retention_scores
from limbeck.compare.crossed import Array
from limbeck.store import SweepRow

RUN_LEVEL = "each run's metric"
BY_EXAMPLE = "test examples"
QUICK = Resampling(resamples=1000)


@dataclass(frozen=True)
class Runs:
    """The trials of one cell: a configuration and its seeds."""

    name: str
    sweep: SweepRow
    trials: Mapping[int, str]
    """Seed -> its complete trial."""
    planned: tuple[int, ...]


@st.cache_resource(show_spinner=False, max_entries=4096)
def _right(url: str, sweep: str, trial: str, split: str, teacher: bool) -> Array | None:
    """Return (N,) 1.0 where a trial's student, or its teacher, is right; None where that is not stored."""
    reader = data.reader()
    labels = reader.labels(sweep, trial, split)
    logits = (reader.teacher_predictions if teacher else reader.predictions)(sweep, trial, split)
    if labels is None or logits is None or labels.dtype.kind != "i" or len(labels) != len(logits):
        return None
    return (logits.argmax(axis=1) == labels).astype(np.float64)


def right(sweep: str, trial: str, split: str, teacher: bool = False) -> Array | None:
    """Return the (N,) right and wrong answers of a complete trial or of its teacher."""
    return _right(data.database(), sweep, trial, split, teacher)


def task_metric(frame: pd.DataFrame, split: str) -> str | None:
    """Return the name of the task's metric on a split: what the teacher was measured by, too."""
    begin = f"metric:teacher/{split}/"
    found = [c.removeprefix(begin) for c in frame.columns if c.startswith(begin)]
    return found[0] if found else None


def test_splits(frame: pd.DataFrame) -> list[str]:
    """Return the test sets that students were read on, the task's own first."""
    begin = "metric:teacher/"
    found = {c.removeprefix(begin).rpartition("/")[0] for c in frame.columns if c.startswith(begin)}
    return sorted(found - {"selection", ""}, key=lambda split: (split != "test", split))


def runs_by_cell(sweep: SweepRow, frame: pd.DataFrame) -> list[Runs]:
    """Return the cells of a sweep in the order they were planned; seeds without a complete trial are missing."""
    seeds = tuple(sorted(int(s) for s in frame["seed"].unique()))
    out = []
    for cell, part in frame.groupby("cell", sort=False):
        done = part[part["state"] == "complete"]
        trials = dict(zip(done["seed"].astype(int), done["trial"], strict=True))
        out.append(Runs(str(cell), sweep, trials, seeds))
    return out


def retention_cells(runs: Sequence[Runs], split: str) -> tuple[list[Cell], str]:
    """Return one cell of retention scores each, and what they were scored on.

    By example where every trial's answers are stored and right or wrong is the task's metric, else one number a run.
    """
    metrics = [task_metric(data.frame(one.sweep), split) for one in runs]
    if all(metric == "accuracy" for metric in metrics):
        by_example = [_examples(one, split) for one in runs]
        known = [found for found in by_example if found is not None]
        if len(known) == len(runs) and _same_rows(runs, split):
            return known, BY_EXAMPLE
    return [_run_level(one, split) for one in runs], RUN_LEVEL


def _examples(runs: Runs, split: str) -> Cell | None:
    found: dict[int, Array] = {}
    for seed, trial in runs.trials.items():
        mine = right(runs.sweep.name, trial, split)
        teacher = right(runs.sweep.name, trial, split, teacher=True)
        if mine is None or teacher is None or len(mine) != len(teacher):
            return None
        scores = retention_scores(mine[None], teacher)
        if scores is None:
            return None
        found[seed] = scores[0]
    return make_cell(runs.name, found, runs.planned)


def _same_rows(runs: Sequence[Runs], split: str) -> bool:
    """Say whether all were tested on the very same rows: pairs need that."""
    reader = data.reader()
    firsts = [(one.sweep.name, next(iter(one.trials.values()))) for one in runs if one.trials]
    by_sweep = {sweep: reader.labels(sweep, trial, split) for sweep, trial in dict(firsts).items()}
    labels = list(by_sweep.values())
    return all(x is not None and labels[0] is not None and np.array_equal(x, labels[0]) for x in labels)


def _run_level(runs: Runs, split: str) -> Cell:
    column = f"metric:{split}/retention"
    frame = data.frame(runs.sweep).set_index("trial")
    found = {}
    for seed, trial in runs.trials.items():
        value = frame[column].get(trial) if column in frame else None
        if value is None and split == "test":
            value = frame["retention"].get(trial)
        if value is not None and np.isfinite(value):
            found[seed] = np.array([value], np.float64)
    return make_cell(runs.name, found, runs.planned)


@st.cache_resource(show_spinner=False, max_entries=2048)
def _interval(url: str, sweep: str, version: str, cell: str, split: str, _runs: Runs) -> tuple[Interval | None, str]:
    found, basis = retention_cells([_runs], split)
    if not found[0].seeds:
        return None, basis
    if basis == RUN_LEVEL and len(found[0].seeds) == 1:
        value = float(found[0].values()[0])
        return Interval(value, float("nan"), float("nan"), 1), basis
    return interval(found[0].scores, np.random.default_rng(0), QUICK), basis


def retention_interval(runs: Runs, split: str) -> tuple[Interval | None, str]:
    """Return a cell's mean retention on a split with its 95 % interval, and what the interval is over."""
    return _interval(data.database(), runs.sweep.name, data.version(runs.sweep), runs.name, split, runs)

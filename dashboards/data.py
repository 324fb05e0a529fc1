"""Reads of the results database, kept while nothing has changed. Shared by all sessions: nothing here is anyone's own.

What is kept is handed out to everybody as it is: treat every frame as read-only.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from limbeck.store import ExamplesRow, Reader, SweepRow, TrialRow, open_reader

CostAndRetention = tuple[float, float | None]
SILENT_AFTER_SECONDS = 600.0
"""A running sweep that has said nothing for so long has probably been killed."""


def home() -> str:
    """Return where the runs are: a folder, or the URI of an object store."""
    return os.environ.get("LIMBECK_HOME") or "runs"


def database() -> str:
    """Return the database's URL."""
    return os.environ.get("LIMBECK_DATABASE") or f"sqlite:///{Path(home()) / 'limbeck.db'}"


@st.cache_resource(show_spinner=False, max_entries=4)
def _reader(url: str) -> Reader:
    return open_reader(url, timeout_seconds=2.0)


def reader() -> Reader:
    """Return the reader. StoreError: missing, locked, damaged, of another schema or not ours."""
    return _reader(database())


def sweeps() -> list[SweepRow]:
    """Return all sweeps, newest first, as of now."""
    return reader().sweeps()


def silent(sweep: SweepRow, now: float) -> bool:
    """Say whether a sweep claims to run but has shown no sign of life for long."""
    return sweep.state == "running" and now - sweep.updated.timestamp() > SILENT_AFTER_SECONDS


def version(sweep: SweepRow) -> str:
    """Return a word that changes when the sweep's results do; for big running sweeps not at every report."""
    pace = max(1.0, sweep.trials / 500) if sweep.state == "running" else 0.001
    return f"{sweep.state}-{int(sweep.updated.timestamp() / pace)}"


@st.cache_resource(show_spinner=False, max_entries=32)
def _frame(url: str, sweep: str, version: str) -> pd.DataFrame:
    return _reader(url).trial_frame(sweep)


def frame(sweep: SweepRow) -> pd.DataFrame:
    """Return one row a trial; see `Reader.trial_frame`. Read-only."""
    return _frame(database(), sweep.name, version(sweep))


@st.cache_resource(show_spinner=False, max_entries=4)
def _costs_and_retentions(url: str) -> dict[str, tuple[str, CostAndRetention]]:
    """What is known by sweep, with the version that it is of."""
    return {}


def costs_and_retentions(sweeps: Sequence[SweepRow]) -> dict[str, CostAndRetention]:
    """Return by sweep the seconds trained, and the best trial's test retention: chosen without looking at the test.

    Only what has changed is asked for, all at once.
    """
    known = _costs_and_retentions(database())
    new = {sweep.name: version(sweep) for sweep in sweeps if known.get(sweep.name, ("",))[0] != version(sweep)}
    if new:
        known |= {name: (new[name], found) for name, found in reader().costs_and_retentions(list(new)).items()}
    return {sweep.name: known[sweep.name][1] for sweep in sweeps}


@st.cache_resource(show_spinner=False, max_entries=64)
def _metrics(
    url: str, sweep: str, version: str, trials: tuple[str, ...], names: tuple[str, ...] | None
) -> pd.DataFrame:
    return _reader(url).metrics(sweep, trials, names)


def metrics(sweep: SweepRow, trials: tuple[str, ...], names: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Return (trial, updates, name, value) of some trials; all metrics without `names`. Read-only."""
    return _metrics(database(), sweep.name, version(sweep), trials, names)


def trial(sweep: SweepRow, name: str) -> TrialRow:
    """Return one trial, complete, as of now. StoreError: there is none."""
    return reader().trial(sweep.name, name)


def examples(sweep: SweepRow, name: str) -> list[ExamplesRow]:
    """Return what the trial's method invented, in the order of updates."""
    return reader().examples(sweep.name, name)


def classes(sweep: SweepRow, name: str) -> tuple[str, ...]:
    """Return what the classes of the trial's task are called, where that is known."""
    return reader().classes(sweep.name, name)


def curve_metrics(frame: pd.DataFrame) -> list[str]:
    """Return the metrics that trials report on their way, best known first."""
    names = [column.removeprefix("metric:") for column in frame.columns if column.startswith("metric:")]
    final = ("teacher/", "test/", "updates/", "latency_ms")
    sizes = {"parameters", "parameters_non_embedding", "disk_bytes"}
    once = {*sizes, "train_seconds", "best_update", "updates", "threads"}
    first = ["retention", "selection/accuracy", "selection/agreement", "loss/student", "loss/total"]
    tests = {name.rpartition("/")[0] for name in names if name.startswith("teacher/")}
    ends = tuple(f"{split.removeprefix('teacher/')}/" for split in tests if split != "teacher/selection") + final
    useful = [name for name in names if name not in once and not name.startswith(ends)]
    return [name for name in first if name in useful] + sorted(name for name in useful if name not in first)


def spread_out(order: list[str], best: int, others: int) -> tuple[list[str], list[str]]:
    """Return the first of an ordered list, and so many more evenly spread over the rest."""
    rest = order[best:]
    if len(rest) > others:
        places = np.linspace(0, len(rest) - 1, others).round().astype(int)
        rest = [rest[i] for i in dict.fromkeys(places.tolist())]
    return order[:best], rest

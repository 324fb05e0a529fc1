"""The reader: what dashboards, tables and comparisons ask. Writes nothing, loads no more than asked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, Select, Text, cast, func, null, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from limbeck.errors import Problem, did_you_mean
from limbeck.store import frames, schema
from limbeck.store.database import Address, reading_engine
from limbeck.store.faults import (
    DatabaseMissingError,
    NotLimbeckError,
    SchemaNewerError,
    SchemaOlderError,
    StoreError,
    faults_explained,
)
from limbeck.store.rows import ExamplesRow, Predictions, SweepRow, TrialRow, TrialState, class_names
from limbeck.store.values import numbers, unpack

Array = np.ndarray[Any, Any]
_CHUNK = 900
"""Names in one IN list: SQLite takes 32,766 variables, older ones 999."""


def open_reader(url: str, *, timeout_seconds: float = 5.0) -> "Reader":
    """Return a reader of the database at `url`. StoreError: missing, locked, damaged, of another schema or not ours."""
    reader = Reader(reading_engine(address := Address(url), timeout_seconds), address)
    try:
        reader.check()
    except BaseException:
        # The pool would keep its connection to the server: who asks until there is something would use all of them up.
        reader.close()
        raise
    return reader


class Reader:
    """Questions to the database. Every answer is of one moment; connections live for one answer only."""

    def __init__(self, engine: Engine, address: Address) -> None:
        self._engine = engine
        self._address = address

    def __repr__(self) -> str:
        return f"Reader({self._address})"

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def check(self) -> None:
        """Raise a StoreError when the database cannot be read."""
        with self._connection():
            pass

    def sweeps(self) -> list[SweepRow]:
        """Return all sweeps, newest first."""
        return self._sweeps(select(schema.sweeps))

    def sweep(self, name: str) -> SweepRow:
        """Return one sweep. UserError: there is none of that name."""
        found = self._sweeps(select(schema.sweeps).where(schema.sweeps.c.name == name))
        if found:
            return found[0]
        with self._connection() as connection:
            names = connection.execute(select(schema.sweeps.c.name)).scalars().all()
        hint = did_you_mean(name, names) if names else "There are no sweeps yet."
        raise StoreError(Problem(self._address.shown, f"no sweep is named '{name}'. {hint}"))

    def costs_and_retentions(self, sweeps: Sequence[str]) -> dict[str, tuple[float, float | None]]:
        """Return by sweep the seconds all trials trained, and the test retention of the best by the first objective."""
        t, s = schema.trials.c, schema.sweeps.c
        seconds = select(func.sum(t.seconds)).where(t.sweep == s.name).scalar_subquery()
        first = select(t.retention).where(t.sweep == s.name, t.state == "complete", t.score.is_not(None)).limit(1)
        high, low = (first.order_by(score, t.number).scalar_subquery() for score in (t.score.desc(), t.score))
        query = select(s.name, s.objectives, seconds, high, low)
        parts = [query.where(s.name.in_(some)) for some in _chunks(sweeps)]
        with self._connection() as connection:
            rows = [row for part in parts for row in connection.execute(part)]
        return {name: (float(spent or 0.0), low if _lowest(goals) else high) for name, goals, spent, high, low in rows}

    def trials(self, sweep: str, states: Sequence[TrialState] | None = None, *, brief: bool = False) -> list[TrialRow]:
        """Return a sweep's trials by number; `brief` leaves spec, traceback and log empty."""
        query = select(*_trial_columns(brief)).where(schema.trials.c.sweep == sweep)
        if states is not None:
            query = query.where(schema.trials.c.state.in_(list(states)))
        with self._connection() as connection:
            rows = connection.execute(query.order_by(schema.trials.c.number, schema.trials.c.trial)).mappings()
            return [_trial_row(row) for row in rows]

    def trial(self, sweep: str, trial: str) -> TrialRow:
        """Return one trial, complete. UserError: there is none of that id."""
        t = schema.trials.c
        with self._connection() as connection:
            query = select(*_trial_columns(False)).where((t.sweep == sweep) & (t.trial == trial))
            row = connection.execute(query).mappings().one_or_none()
            if row is not None:
                return _trial_row(row)
            ids = connection.execute(select(t.trial).where(t.sweep == sweep).limit(1000)).scalars().all()
        hint = did_you_mean(trial, ids) if 0 < len(ids) < 20 else ""
        raise StoreError(Problem(self._address.shown, f"sweep '{sweep}' has no trial '{trial}'. {hint}".strip()))

    def metrics(
        self, sweep: str, trials: str | Sequence[str] | None = None, names: str | Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return metrics as a frame (trial, updates, name, value) by trial, name and updates; None asks for all."""
        m = schema.metrics.c
        query = select(m.trial, m.updates, m.name, m.value).where(m.sweep == sweep)
        if names is not None:
            query = query.where(m.name.in_([names] if isinstance(names, str) else list(names)))
        if trials is None:
            parts = [query]
        else:
            wanted = [trials] if isinstance(trials, str) else list(dict.fromkeys(trials))
            parts = [query.where(m.trial.in_(some)) for some in _chunks(wanted)]
        with self._connection() as connection:
            rows = [row for part in parts for row in connection.execute(part)]
        return frames.metric_frame(rows)

    def metric_names(self, sweep: str) -> list[str]:
        """Return the names of all metrics of a sweep's trials, sorted."""
        m = schema.metrics.c
        with self._connection() as connection:
            names = connection.execute(select(m.name).where(m.sweep == sweep).distinct())
            return sorted(names.scalars())

    def trial_frame(self, sweep: str) -> pd.DataFrame:
        """Return a flat frame, one row a trial: its columns, `value:<path>`, `objective:<name>`, `metric:<name>`.

        Values that are lists, tables or null are JSON text, so that every cell is a scalar; NaN are those not varied.
        """
        t = schema.trials.c
        columns = [*(t[name] for name in frames.FLAT), *(cast(t[name], Text) for name in frames.TABLES)]
        query = select(*columns).where(t.sweep == sweep).order_by(t.number, t.trial)
        with self._connection() as connection:
            return frames.trial_frame(connection.execute(query).all())

    def examples(self, sweep: str, trial: str) -> list[ExamplesRow]:
        """Return what a trial's method made up, in the order of updates."""
        e = schema.examples.c
        query = select(e.updates, e.rows).where((e.sweep == sweep) & (e.trial == trial)).order_by(e.updates)
        with self._connection() as connection:
            return [ExamplesRow(int(updates), rows) for updates, rows in connection.execute(query)]

    def splits(self, sweep: str, trial: str) -> list[str]:
        """Return the splits for which a trial's predictions are kept, sorted."""
        p = schema.predictions.c
        query = select(p.split).where((p.sweep == sweep) & (p.trial == trial)).order_by(p.split)
        with self._connection() as connection:
            return list(connection.execute(query).scalars())

    def predictions(self, sweep: str, trial: str, split: str) -> Array | None:
        """Return a trial's logits (N, C) float16 on a split, None where none were kept."""
        p = schema.predictions.c
        mine = (p.sweep == sweep) & (p.trial == trial) & (p.split == split)
        return self._array(select(p.dtype, p.rows, p.columns, p.data).where(mine))

    def classes(self, sweep: str, trial: str) -> tuple[str, ...]:
        """Return what the classes of a trial's task are called; empty for regression and before the trial ended."""
        task = self.fingerprint(sweep, trial)
        return tuple(map(str, self.sweep(sweep).notes.get(class_names(task), ()))) if task else ()

    def fingerprint(self, sweep: str, trial: str) -> str | None:
        """Return the fingerprint of the data a trial was trained and tested on, None where no predictions were kept."""
        p = schema.predictions.c
        with self._connection() as connection:
            return connection.execute(select(p.task).where((p.sweep == sweep) & (p.trial == trial))).scalar()

    def all_predictions(self, sweep: str, split: str, trials: Iterable[str] | None = None) -> Iterator[Predictions]:
        """Yield trials' logits on a split by trial, one at a time, with what tells whose labels and teacher they have.

        None asks for every trial of the sweep.
        """
        p = schema.predictions.c
        query = select(p.trial, p.task, p.teacher, p.dtype, p.rows, p.columns, p.data)
        query = query.where((p.sweep == sweep) & (p.split == split)).order_by(p.trial)
        parts = [query] if trials is None else [query.where(p.trial.in_(some)) for some in _chunks(sorted(set(trials)))]
        with self._connection() as connection:
            for part in parts:
                for trial, task, teacher, *array in connection.execution_options(yield_per=100).execute(part):
                    yield Predictions(trial, task, teacher, unpack(*array))

    def labels(self, sweep: str, trial: str, split: str) -> Array | None:
        """Return the gold labels (N,) that belong to `predictions`: int64 classes, or float32 for regression."""
        p, g = schema.predictions.c, schema.gold.c
        mine = (p.sweep == sweep) & (p.trial == trial) & (p.split == split)
        same = (g.task == p.task) & (g.split == p.split)
        return self._array(select(g.dtype, g.rows, g.columns, g.data).where(mine & same))

    def teacher_predictions(self, sweep: str, trial: str, split: str) -> Array | None:
        """Return the logits (N, C) float16 of the trial's teacher on a split, None where none were kept."""
        p, q = schema.predictions.c, schema.teacher_predictions.c
        mine = (p.sweep == sweep) & (p.trial == trial) & (p.split == split)
        same = (q.task == p.task) & (q.teacher == p.teacher) & (q.split == p.split)
        return self._array(select(q.dtype, q.rows, q.columns, q.data).where(mine & same))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        file = self._address.file
        if file is not None and not file.is_file():
            what = "there is no results database here yet; `limbeck sweep PLAN` makes one"
            raise DatabaseMissingError(Problem(self._address.shown, what))
        with faults_explained(self._address.shown), self._engine.connect() as connection:
            self._check_schema(connection)
            yield connection

    def _check_schema(self, connection: Connection) -> None:
        try:
            found = schema.stored_version(connection)
        except (OperationalError, ProgrammingError) as error:
            if "no such table" in str(error.orig) or getattr(error.orig, "sqlstate", "") == "42P01":
                found = None
            else:
                raise
        shown, known = self._address.shown, schema.SCHEMA_VERSION
        if found is None:
            raise NotLimbeckError(Problem(shown, "this database holds no limbeck results"))
        if found > known:
            what = f"written by a newer limbeck (schema {found}, this one knows {known}): upgrade limbeck"
            raise SchemaNewerError(Problem(shown, what))
        if found < known:
            what = f"written by an older limbeck (schema {found}, now {known}): run `limbeck sweeps`, which upgrades it"
            raise SchemaOlderError(Problem(shown, what))

    def _sweeps(self, query: Select[Any]) -> list[SweepRow]:
        t, s = schema.trials.c, schema.sweeps.c
        groups = select(t.sweep, t.state, func.count(), func.max(t.score), func.min(t.score))
        with self._connection() as connection:
            rows = connection.execute(query.order_by(s.created.desc(), s.name)).mappings().all()
            names = [row["name"] for row in rows]
            if len(names) == 1:
                groups = groups.where(t.sweep == names[0])
            counted = connection.execute(groups.group_by(t.sweep, t.state)).all()
        found: dict[str, list[tuple[TrialState, int, float | None, float | None]]] = {}
        for sweep, state, count, high, low in counted:
            found.setdefault(sweep, []).append((state, count, high, low))
        return [_sweep_row(row, found.get(row["name"], [])) for row in rows]

    def _array(self, query: Select[Any]) -> Array | None:
        with self._connection() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else unpack(*row)


def _chunks(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[i : i + _CHUNK] for i in range(0, len(names), _CHUNK)]


_LONG = ("spec", "traceback", "log")


def _trial_columns(brief: bool) -> list[Any]:
    return [null().label(c.name) if brief and c.name in _LONG else c for c in schema.trials.c if c.name != "score"]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _lowest(objectives: Mapping[str, str]) -> bool:
    """Say whether the first objective, which orders trials, is to be low."""
    return next(iter(objectives.values()), "max") == "min"


def _sweep_row(row: Mapping[Any, Any], groups: list[tuple[TrialState, int, float | None, float | None]]) -> SweepRow:
    fields = {str(k): v for k, v in row.items()}
    lowest = _lowest(fields["objectives"])
    best = next((low if lowest else high for state, _, high, low in groups if state == "complete"), None)
    times = {name: _time(fields[name]) for name in ("created", "updated")}
    return SweepRow(**{**fields, **times}, counts={state: count for state, count, _, _ in groups}, best=best)


def _trial_row(row: Mapping[Any, Any]) -> TrialRow:
    fields = {str(k): v for k, v in row.items()}
    for name in ("created", "started", "updated", "finished"):
        fields[name] = None if fields[name] is None else _time(fields[name])
    fields["objective"] = numbers(fields["objective"])
    fields["metrics"] = numbers(fields["metrics"])
    fields["spec"] = fields["spec"] or {}
    return TrialRow(**fields)

"""The writer: the one process that drives a sweep tells the database what happened, a transaction a call."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

import numpy as np
from sqlalchemy import Connection, Engine, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from limbeck.errors import Problem
from limbeck.store import schema
from limbeck.store.database import Address, writing_engine
from limbeck.store.faults import SchemaNewerError, StoreError, faults_explained
from limbeck.store.rows import ENDED, NewSweep, NewTrial, Outcome, SweepState, TrialState
from limbeck.store.values import pack, plain, storable

Array = np.ndarray[Any, Any]


def open_store(url: str, *, clock: Callable[[], float] = time.time, timeout_seconds: float = 30.0) -> "Store":
    """Return the writer of the database at `url`, creating the file, folder and tables or upgrading older ones."""
    address = Address(url)
    if address.file is not None:
        try:
            address.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(Problem(address.shown, f"the folder cannot be made: {error.strerror}")) from None
    engine = writing_engine(address, timeout_seconds)
    try:
        with faults_explained(address.shown), engine.begin() as connection:
            found = schema.create_or_upgrade(connection)
        known = schema.SCHEMA_VERSION
        if found is not None and found > known:
            what = f"written by a newer limbeck (schema {found}, this one knows {known}): upgrade limbeck"
            raise SchemaNewerError(Problem(address.shown, what))
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, address, clock)


class Store:
    """The writer. A call is one transaction or a part of one: after a crash the database holds whole calls only."""

    def __init__(self, engine: Engine, address: Address, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._address = address
        self._clock = clock
        self._objectives: dict[str, dict[str, str]] = {}
        self._shared: Connection | None = None
        """The transaction of a `together`."""

    def __repr__(self) -> str:
        return f"Store({self._address})"

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; the store can still be used and then reconnects."""
        self._engine.dispose()

    def add_sweep(self, sweep: NewSweep) -> None:
        """Record a new sweep as running. UserError: the name is taken."""
        now = self._clock()
        row = {
            "name": sweep.name,
            "plan": storable(sweep.plan),
            "kind": sweep.kind,
            "task": sweep.task,
            "objectives": plain(sweep.objectives),
            "state": "running",
            "trials_planned": sweep.trials_planned,
            "created": now,
            "updated": now,
            "notes": plain(sweep.notes),
        }
        try:
            with self._transaction() as connection:
                connection.execute(insert(schema.sweeps), row)
        except IntegrityError:
            what = f"a sweep named '{sweep.name}' is there already: choose another name, or resume it"
            raise StoreError(Problem(self._address.shown, what)) from None

    def set_sweep_state(self, sweep: str, state: SweepState) -> None:
        """Set a sweep's state."""
        _check(state, SweepState)
        self._update_sweep(sweep, state=state)

    def plan_trials(self, sweep: str, trials_planned: int) -> None:
        """Change how many trials the sweep is going to have."""
        self._update_sweep(sweep, trials_planned=trials_planned)

    def heartbeat(self, sweep: str) -> None:
        """Say that the sweep's driver is alive."""
        self._update_sweep(sweep)

    def add_notes(self, sweep: str, notes: Mapping[str, Any]) -> None:
        """Add facts to a sweep's notes, replacing those of the same name."""
        with self._transaction() as connection:
            query = select(schema.sweeps.c.notes).where(schema.sweeps.c.name == sweep).with_for_update()
            old = connection.execute(query).scalar()
            if old is None:
                raise KeyError(f"no sweep {sweep!r}")
            self._touch(connection, sweep, notes={**old, **plain(notes)})

    def add_trials(self, sweep: str, trials: Sequence[NewTrial]) -> None:
        """Record waiting trials; those that are there already (after a resume) stay as they are."""
        now = self._clock()
        rows = [
            {
                "sweep": sweep,
                "trial": t.trial,
                "number": t.number,
                "cell": t.cell,
                "seed": t.seed,
                "state": "waiting",
                "values": plain(t.values),
                "spec": plain(t.spec),
                "updates": 0,
                "updates_total": 0,
                "seconds": 0.0,
                "objective": {},
                "metrics": {},
                "folder": t.folder,
                "created": now,
                "updated": now,
            }
            for t in trials
        ]
        with self._transaction() as connection:
            self._touch(connection, sweep)
            schema.put(connection, schema.trials, rows)

    def start_trial(self, sweep: str, trial: str, folder: str | None = None) -> None:
        """Set a trial running, for the first time or again."""
        now = self._clock()
        new: dict[str, Any] = {"state": "running", "updated": now, "finished": None}
        new |= {"error": None, "traceback": None, "log": None}
        if folder is not None:
            new["folder"] = folder
        with self._transaction() as connection:
            started = _last(connection, (sweep, trial)).started
            new["started"] = now if started is None else started
            schema.change(connection, schema.trials, (sweep, trial), new)
            self._touch(connection, sweep)

    def record_progress(
        self,
        sweep: str,
        trial: str,
        updates: int,
        updates_total: int,
        seconds: float,
        metrics: Mapping[str, float],
        examples: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Record how far a running trial is; what was said before for the same `updates` is replaced."""
        now = self._clock()
        new: dict[str, Any] = {"updates": updates, "updates_total": updates_total, "seconds": seconds, "updated": now}
        with self._transaction() as connection:
            new |= self._merge(connection, (sweep, trial), metrics)
            schema.change(connection, schema.trials, (sweep, trial), new)
            schema.put(connection, schema.metrics, _metric_rows((sweep, trial, updates), metrics), "value")
            if examples:
                row = {"sweep": sweep, "trial": trial, "updates": updates, "rows": plain(list(examples))}
                schema.put(connection, schema.examples, [row], "rows")
            self._touch(connection, sweep)

    def finish_trial(self, sweep: str, trial: str, state: TrialState, outcome: Outcome | None = None) -> None:
        """Record how a trial ended: complete, stopped or failed.

        Final metrics are those of the student that is kept, which may be an earlier one than the last: the trial has
        them, and its curves keep what was measured at the last update.
        """
        if state not in ENDED:
            raise ValueError(f"a trial ends {', '.join(ENDED)}; got {state!r}")
        end = outcome or Outcome()
        now = self._clock()
        new: dict[str, Any] = {"retention": plain(end.retention), "seconds": end.seconds, "updates": end.updates}
        new |= {"parameters": end.parameters, "error": storable(end.error)}
        new |= {"traceback": storable(end.traceback), "log": storable(end.log)}
        known = {name: value for name, value in new.items() if value is not None}
        with self._transaction() as connection:
            updates = _last(connection, (sweep, trial)).updates if end.updates is None else end.updates
            merged = self._merge(connection, (sweep, trial), end.metrics)
            times = {"state": state, "updated": now, "finished": now}
            schema.change(connection, schema.trials, (sweep, trial), {**merged, **known, **times})
            schema.put(connection, schema.metrics, _metric_rows((sweep, trial, updates), end.metrics))
            self._touch(connection, sweep)

    def add_predictions(
        self,
        sweep: str,
        trial: str,
        predictions: Mapping[str, Array],
        *,
        task: str | None = None,
        teacher: str | None = None,
    ) -> None:
        """Keep a trial's logits, split -> (N, C), in float16; `task` and `teacher` name what add_reference got."""
        who = {"sweep": sweep, "trial": trial, "task": task, "teacher": teacher}
        rows = [{**who, "split": split, **pack(array, "float16")} for split, array in predictions.items()]
        columns = ("task", "teacher", "dtype", "rows", "columns", "data")
        with self._transaction() as connection:
            schema.put(connection, schema.predictions, rows, *columns)

    def add_reference(
        self, task: str, teacher: str, labels: Mapping[str, Array], predictions: Mapping[str, Array]
    ) -> None:
        """Keep a task's gold labels, split -> (N,), and a teacher's logits, split -> (N, C), once for all trials.

        `task` and `teacher` are fingerprints; what is there under them already is left alone.
        """
        gold = []
        for split, array in labels.items():
            dtype = "float32" if np.issubdtype(np.asarray(array).dtype, np.floating) else "int64"
            gold.append({"task": task, "split": split, **pack(array, dtype)})
        who = {"task": task, "teacher": teacher}
        logits = [{**who, "split": split, **pack(array, "float16")} for split, array in predictions.items()]
        with self._transaction() as connection:
            schema.put(connection, schema.gold, gold)
            schema.put(connection, schema.teacher_predictions, logits)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do the writes of a block in one transaction, all or none of them: most of a small write is its commit."""
        with self._transaction() as self._shared:
            try:
                yield
            finally:
                self._shared = None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._shared is not None:
            yield self._shared
            return
        with faults_explained(self._address.shown), self._engine.begin() as connection:
            yield connection

    def _update_sweep(self, sweep: str, **new: Any) -> None:
        with self._transaction() as connection:
            self._touch(connection, sweep, **new)

    def _touch(self, connection: Connection, sweep: str, **new: Any) -> None:
        schema.change(connection, schema.sweeps, (sweep,), {"updated": self._clock(), **new})

    def _merge(self, connection: Connection, key: tuple[str, str], metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return the trial's metrics, objective and score with the new metrics in."""
        latest = {**_last(connection, key).metrics, **plain(metrics)}
        sweep = key[0]
        if sweep not in self._objectives:
            s = schema.sweeps.c
            self._objectives[sweep] = connection.execute(select(s.objectives).where(s.name == sweep)).scalar_one()
        names = list(self._objectives[sweep])
        score = latest.get(names[0]) if names else None
        return {"metrics": latest, "objective": {n: latest[n] for n in names if n in latest}, "score": score}


_LAST = select(schema.trials.c.metrics, schema.trials.c.updates, schema.trials.c.started)
_LAST = _LAST.where(schema.trials.c.sweep == bindparam("sweep"), schema.trials.c.trial == bindparam("trial"))
_LAST = _LAST.with_for_update()


class _Last(NamedTuple):
    metrics: dict[str, Any]
    updates: int
    started: float | None


def _last(connection: Connection, key: tuple[str, str]) -> _Last:
    """Return a trial's metrics, updates and start as stored, locked until the transaction ends."""
    row = connection.execute(_LAST, dict(zip(("sweep", "trial"), key, strict=True))).one_or_none()
    if row is None:
        raise KeyError(f"no trial {key[1]!r} in sweep {key[0]!r}")
    return _Last(*row)


def _metric_rows(at: tuple[str, str, int], metrics: Mapping[str, float]) -> list[dict[str, Any]]:
    key = dict(zip(("sweep", "trial", "updates"), at, strict=True))
    return [{**key, "name": name, "value": plain(value)} for name, value in metrics.items()]


def _check(state: str, allowed: Any) -> None:
    if state not in get_args(allowed):
        raise ValueError(f"state {state!r} is none of {', '.join(get_args(allowed))}")

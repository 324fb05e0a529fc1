"""Run a sweep from a plan to its results, or go on with one that was interrupted."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from rich.console import Console

from limbeck.cache import Cache
from limbeck.cluster import probe, session
from limbeck.cluster.configurations import Configurations, Known, Searched
from limbeck.cluster.early import Halving
from limbeck.cluster.engine import STANDARD, Engine
from limbeck.cluster.ledger import Ledger, Standing, share_at
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.prepare import preparing_threads, shared_specs
from limbeck.cluster.progress import Beat, Board
from limbeck.cluster.search import StoreCallback
from limbeck.cluster.slots import check_disk, slots
from limbeck.cluster.spool import PatientStore, Spool
from limbeck.cluster.study import Study
from limbeck.cluster.tuning import Opening, run_trials
from limbeck.cluster.worker import Setup
from limbeck.errors import Problem, UserError
from limbeck.misfits import plan_misfits
from limbeck.onnx_graph import require_onnx
from limbeck.plan import Plan, parse_plan
from limbeck.sections import needs_graph
from limbeck.storage import Storage
from limbeck.store import (
    DatabaseMissingError,
    NewSweep,
    NotLimbeckError,
    SchemaOlderError,
    TrialRow,
    open_reader,
    open_store,
)
from limbeck.store.health import database_state

_ANSWER_SECONDS = 2.0
_HOME = "home"
"""A sweep's note of where it was driven from last."""
_DEAD_SECONDS = 90.0
"""A driver that was silent for three heartbeats counts as dead."""


@dataclass(frozen=True)
class Site:
    """Where a sweep runs and where it leaves what it finds."""

    home: Path
    database: str
    cache_root: Path
    address: str | None = None
    """Of a Ray cluster; None starts Ray on this machine."""
    uri: str = ""
    """Of an object store that holds the runs; `home` is then where each node keeps copies of what is at work."""

    @property
    def storage(self) -> Storage:
        """The home, wherever it is."""
        return Storage(self.home, self.uri)


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended."""

    name: str
    state: Literal["complete", "interrupted", "failed"]
    standing: Standing

    @property
    def exit_code(self) -> int:
        """0 when everything went well, 1 when trials failed, 130 when it was interrupted."""
        if self.state == "interrupted":
            return 130
        return 1 if self.standing.failed else 0


def stored_plan(database: str, name: str) -> Plan:
    """Return the plan of an earlier sweep. UserError: there is none of that name."""
    with open_reader(database) as reader:
        return parse_plan(reader.sweep(name).plan, name)


def run_sweep(
    plan: Plan, site: Site, *, resume: bool = False, console: Console | None = None, engine: Engine = STANDARD
) -> SweepResult:
    """Run the plan's trials, or with `resume` those that have not ended.

    UserError before anything starts: a name that is taken, a plan that does not fit on the cluster, no disk, data or
    models that cannot be used. A trial that fails does not stop the sweep.
    """
    console = console or Console(stderr=True, highlight=False)
    site = replace(site, home=site.home.absolute(), cache_root=site.cache_root.absolute())
    check_disk(site.home)
    site.storage.check()
    with _only_driver(site.home / plan.name, plan.name):
        home = _home(site, plan.name)
        rows = _earlier(plan, site, home) if resume else None
        if not resume:
            _refuse_taken(plan.name, site.database)
            if problems := plan_misfits(plan, Cache(site.cache_root)):
                raise UserError(*problems)
        return _Sweep(plan, site, console, engine, home).run(rows)


def _home(site: Site, name: str) -> dict[str, str]:
    """Return what a sweep notes of its home: the path, and what tells it from one of the same path elsewhere."""
    mark = site.home / name / ".home"
    if not mark.is_file():
        mark.write_text(uuid.uuid4().hex)
    return {"path": site.storage.shown(site.home), "mark": mark.read_text()}


def _earlier(plan: Plan, site: Site, home: Mapping[str, str]) -> list[TrialRow]:
    with open_reader(site.database) as reader:
        sweep = reader.sweep(plan.name)
        silent = (datetime.now(UTC) - sweep.updated).total_seconds()
        # A home's lock says nothing of other homes, and object stores have none: there a heartbeat alone tells.
        last = sweep.notes.get(_HOME, home)
        if (site.uri or last != home) and sweep.state == "running" and silent < _DEAD_SECONDS:
            what = f"it was heard of {silent:.0f} s ago, so another process may be running it in {last['path']}"
            wait = f"if that one has died, try again in {_DEAD_SECONDS - silent:.0f} s"
            raise UserError(Problem(plan.name, f"{what}; {wait}"))
        return reader.trials(plan.name)


def _refuse_taken(name: str, database: str) -> None:
    try:
        with open_reader(database) as reader:
            taken = [sweep.name for sweep in reader.sweeps()]
    except (DatabaseMissingError, NotLimbeckError, SchemaOlderError):
        # Nothing is taken where nothing is; the writer makes or upgrades the tables.
        return
    if name in taken:
        what = f"there is a sweep of this name: go on with it (--resume {name}), or give another (--name)"
        raise UserError(Problem(name, what))


@contextmanager
def _only_driver(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".driver.lock", timeout=0):
            yield
    except Timeout:
        raise UserError(Problem(name, "this sweep is being run by another process")) from None


class _Sweep:
    """One run of a sweep's driver."""

    def __init__(self, plan: Plan, site: Site, console: Console, engine: Engine, home: Mapping[str, str]) -> None:
        self.plan, self.site, self.console, self.engine, self.home = plan, site, console, engine, home
        self.storage = site.storage.below(plan.name)
        self.recorded = False
        """Whether the sweep stands in the results."""
        self.heard: list[str] = []
        self.spool = Spool(self.say, partial(database_state, site.database, timeout_seconds=_ANSWER_SECONDS))

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.heard.append(line)

    def run(self, rows: Sequence[TrialRow] | None) -> SweepResult:
        """Run the plan; `rows` are the results of an earlier run of it, None where there was none."""
        with (
            open_store(self.site.database, clock=self.spool.clock) as database,
            self._configurations() as configurations,
        ):
            store = PatientStore(database, self.spool)
            ledger = Ledger(self.plan, store, configurations, self.storage, self._halving(rows or ()), self.say)
            if rows is not None:
                self.recorded = True
                configurations.restore(ledger.take_up(rows))
                ledger.enter_known()
            try:
                if rows is None or ledger.left():
                    self._run(store, ledger)
                return self._finished(store, ledger)
            except (KeyboardInterrupt, SystemExit):
                return self._interrupted(ledger)

    def _run(self, store: PatientStore, ledger: Ledger) -> None:
        plan, ours = self.plan, self.site.address is None
        cluster, limits = plan.cluster, tuple(plan.limits.items())
        if graph := needs_graph([*plan.objectives, *plan.limits]):
            require_onnx()
        resources = (cluster.workers, cluster.cpus, cluster.gpus)
        heeds = plan.search.early_stop != "none"
        setup = Setup(self.engine, self.site.cache_root, *resources, limits, graph, self.storage, heeds)
        with session.connected(self.site.address, fork=True), Board(self.console, next(iter(plan.objectives))) as board:
            nodes = session.nodes()
            if not ours:
                probe.check(self.site.storage, self.site.database)
            at_once = min(slots(cluster, nodes), plan.trials)
            specs = tuple(spec.model_dump_json() for spec in shared_specs(plan))
            # On a machine of our own nothing else runs yet, and an actor without CPUs may use them.
            in_worker = bool(cluster.workers and (cluster.gpus or not ours))
            opening = Opening(
                specs, preparing_threads(plan, nodes, ours=ours), in_worker, self.storage.folder / ".tune"
            )

            def opened() -> None:
                self._record(store, ledger, {"prepared": [*self.heard], "trials_at_once": at_once, "nodes": len(nodes)})
                board.open(ledger.standing())

            def look() -> None:
                board.show(ledger.standing())
                self.spool.settle()

            beat = Beat(look, lambda: self._alive(store))
            try:
                run_trials(ledger, setup, opening, StoreCallback(ledger, opened, self.say, beat), at_once)
            except BaseException:
                if self.recorded:
                    store.set_sweep_state(plan.name, "interrupted")
                self.spool.settle()
                raise
            board.close(ledger.standing())

    def _record(self, store: PatientStore, ledger: Ledger, facts: dict[str, Any]) -> None:
        """Let the sweep stand in the results: not before it is clear that it can run."""
        plan = self.plan
        if self.recorded:
            store.set_sweep_state(plan.name, "running")
        else:
            store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives, plan.trials))
            self.recorded = True
            ledger.enter_known()
        store.add_notes(plan.name, {**facts, _HOME: self.home})

    def _alive(self, store: PatientStore) -> None:
        if self.recorded:
            store.heartbeat(self.plan.name)

    @contextmanager
    def _configurations(self) -> Iterator[Configurations]:
        if self.plan.kind != "search":
            yield Known(self.plan)
            return
        mirror = Mirror(self.site.database, self.plan, self.spool.write)
        mirror.open()
        try:
            yield Searched(self.plan, Study(self.plan, mirror), self.say)
        finally:
            mirror.close()

    def _halving(self, rows: Sequence[TrialRow]) -> Halving | None:
        """The rungs of early stopping, with what earlier runs left on them."""
        if self.plan.search.early_stop != "asha":
            return None
        metric, direction = next(iter(self.plan.objectives.items()))
        halving = Halving(self.plan.search, direction)
        known = {row.trial: row for row in rows if row.updates}
        if known:
            with open_reader(self.site.database) as reader:
                frame = reader.metrics(self.plan.name, list(known), metric)
            for trial, updates, value in zip(frame["trial"], frame["updates"], frame["value"], strict=True):
                halving.goes_on(trial, share_at(known[trial], updates), value)
        return halving

    def _finished(self, store: PatientStore, ledger: Ledger) -> SweepResult:
        standing = ledger.standing()
        nothing_worked = standing.failed and standing.failed == standing.ended
        state: Literal["complete", "failed"] = "failed" if nothing_worked else "complete"
        store.set_sweep_state(self.plan.name, state)
        self.spool.flush()
        return SweepResult(self.plan.name, state, standing)

    def _interrupted(self, ledger: Ledger) -> SweepResult:
        standing = ledger.standing()
        if self.recorded:
            self.say(f"interrupted: {standing.ended} of {standing.planned} trials have ended, and those that ran keep")
            self.say(f"their last checkpoint. Go on with: limbeck sweep --resume {self.plan.name}")
        else:
            self.say("interrupted before the first trial; what was made for it stays in the cache")
        return SweepResult(self.plan.name, "interrupted", standing)

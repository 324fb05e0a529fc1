"""The books of a sweep: hands out trials, takes in what they tell, writes the results. Knows nothing of Ray."""

import json
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.cluster.configurations import Configuration, Configurations, Kept
from limbeck.cluster.early import Halving
from limbeck.cluster.messages import End, Report, request_stop, spent
from limbeck.cluster.spool import PatientStore
from limbeck.cluster.study import Verdict
from limbeck.plan import Plan
from limbeck.storage import Storage
from limbeck.store import NewTrial, Outcome, Store, TrialRow
from limbeck.store.rows import ENDED, class_names

log = logging.getLogger(__name__)
TRIAL_FILE = "trial.json"


@dataclass(frozen=True)
class Job:
    """One trial to run."""

    trial: str
    cell: str
    seed: int
    values: Mapping[str, Any]
    spec: Mapping[str, Any]
    folder: Path


def share_at(row: TrialRow, updates: int) -> float:
    """Return the part of its budget that a trial had spent at an evaluation.

    The seconds of evaluations before the last are not kept: they are taken in proportion to its.
    """
    seconds = row.seconds * (updates / row.updates) if row.updates else row.seconds
    return spent(updates, row.updates_total, seconds, row.spec.get("training", {}).get("seconds"))


@dataclass(frozen=True)
class Standing:
    """Where a sweep stands."""

    planned: int
    complete: int = 0
    stopped: int = 0
    failed: int = 0
    running: int = 0
    best: float | None = None
    """Of the first objective, over complete trials."""
    spent: float = 0.0
    """Budgets used up so far, counted in trials."""

    @property
    def ended(self) -> int:
        return self.complete + self.stopped + self.failed


@dataclass
class _Entry:
    """What the books know of one trial."""

    job: Job
    state: str = "waiting"
    values: tuple[float, ...] = ()
    updates: int = 0
    share: float = 0.0


class Ledger:
    """The one writer of a sweep's results."""

    def __init__(
        self,
        plan: Plan,
        store: Store | PatientStore,
        configurations: Configurations,
        storage: Storage,
        halving: Halving | None = None,
        say: Callable[[str], None] = log.info,
    ) -> None:
        """`storage` is the sweep's own part of its home."""
        self._plan = plan
        self._store = store
        self._configurations = configurations
        self._storage = storage
        self._halving = halving
        self._say = say
        self._entries: dict[str, _Entry] = {}
        self._cells: dict[str, list[str]] = {}
        self._queue: deque[str] = deque()
        self._references: set[tuple[str, str]] = set()
        self._exhausted = False

    # -- handing out ----------------------------------------------------------------------------------------------

    def take_up(self, rows: Sequence[TrialRow]) -> dict[str, Kept]:
        """Go on from an earlier run's results: what had started is handed out first, then what waited.

        A failed trial of a grid or an ablation leaves a hole in its table, so it is tried again, last. A search has no
        table to fill, and goes on without it.

        Returns every configuration's values, and its verdict where all its trials have ended.
        """
        for row in rows:
            folder = self._storage.folder / row.trial
            entry = self._enter(Job(row.trial, row.cell, row.seed, row.values, row.spec, folder))
            entry.values = _objective_values(self._plan, row.objective)
            entry.updates = row.updates
            entry.share = min(1.0, share_at(row, row.updates))
            if row.state in ENDED:
                entry.state = row.state
        again = () if self._plan.kind == "search" else ("failed",)
        for wanted in ("running", "waiting", *again):
            self._queue.extend(row.trial for row in rows if row.state == wanted)
        return {cell: (self._entries[trials[0]].job.values, self.verdict(cell)) for cell, trials in self._cells.items()}

    def enter_known(self) -> None:
        """Enter every configuration of a grid or an ablation: all of them with the first seed, then with the second.

        The sweep must stand in the results. A search is left as it is.
        """
        if self._plan.kind == "search":
            return
        found: list[Configuration] = []
        while (configuration := self._configurations.next()) is not None:
            found.append(configuration)
        self._admit([(configuration, seed) for seed in self._plan.seeds for configuration in found])
        self._exhausted = True

    def left(self) -> bool:
        """Say whether there may be trials to hand out."""
        return bool(self._queue) or (not self._exhausted and self._configurations.left())

    def next(self) -> Job | None:
        """Return the next trial to run; None when there is none left to start."""
        if not self._queue and not self._exhausted:
            configuration = self._configurations.next()
            if configuration is None:
                self._exhausted = True
            else:
                trials = self._admit([(configuration, seed) for seed in self._plan.seeds])
                self._configurations.admit(configuration.name, trials)
        if not self._queue:
            return None
        job = self._entries[self._queue.popleft()].job
        _write_trial_file(self._plan.name, job, self._storage)
        return job

    def _admit(self, wanted: Sequence[tuple[Configuration, int]]) -> list[str]:
        """Enter trials and write them down; those that stand in the results already are left alone."""
        new: list[NewTrial] = []
        for configuration, seed in wanted:
            if any(self._entries[trial].job.seed == seed for trial in self._cells.get(configuration.name, ())):
                continue
            spec = self._plan.spec(configuration.values, seed)
            trial = self._free_name(spec.id)
            folder = self._storage.folder / trial
            dumped = spec.model_dump(mode="json")
            self._enter(Job(trial, configuration.name, seed, configuration.values, dumped, folder))
            number = len(self._entries) - 1
            at = self._storage.shown(folder)
            new.append(NewTrial(trial, number, configuration.name, seed, configuration.values, dumped, at))
        if new:
            self._store.add_trials(self._plan.name, new)
        self._queue.extend(row.trial for row in new)
        return [row.trial for row in new]

    def _enter(self, job: Job) -> _Entry:
        entry = self._entries[job.trial] = _Entry(job)
        self._cells.setdefault(job.cell, []).append(job.trial)
        return entry

    def _free_name(self, name: str) -> str:
        """Two cells of an ablation may make the same trial; each keeps a folder of its own."""
        taken = self._entries
        return next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)

    # -- taking in ------------------------------------------------------------------------------------------------

    def started(self, trial: str) -> None:
        """A trial runs, for the first time or again."""
        self._entries[trial].state = "running"
        self._store.start_trial(self._plan.name, trial)

    def reported(self, trial: str, report: Report) -> None:
        """A trial was evaluated; a poor one is asked to stop. What arrives after a trial's end is dropped."""
        entry = self._entries[trial]
        if entry.state in ENDED:
            return
        entry.values = _objective_values(self._plan, report.metrics)
        entry.updates, entry.share = report.updates, min(1.0, report.share)
        self._store.record_progress(
            self._plan.name,
            trial,
            report.updates,
            report.updates_total,
            report.seconds,
            report.metrics,
            report.examples,
        )
        if self._halving and entry.values and not self._halving.goes_on(trial, report.share, entry.values[0]):
            self._storage.insist(lambda: request_stop(entry.job.folder, self._storage))

    def ended(self, trial: str, end: End) -> None:
        """A trial ended; with the last seed of its configuration the search learns how that did."""
        entry = self._entries[trial]
        if end.state == "complete":
            entry.values, entry.share = _objective_values(self._plan, end.metrics), 1.0
            self._keep_predictions(entry.job, end)
        entry.state = end.state
        outcome = Outcome(
            metrics=end.metrics,
            retention=end.metrics.get("test/retention"),
            parameters=end.parameters,
            seconds=end.seconds,
            error=end.error,
            traceback=end.traceback,
            log=end.log,
        )
        self._store.finish_trial(self._plan.name, trial, end.state, outcome)
        for line in dict.fromkeys((end.log or "").splitlines()):
            self._say(f"trial {trial}: {line}")
        if end.state == "failed":
            self._say(f"trial {trial} failed: {end.error}")
        verdict = self.verdict(entry.job.cell)
        if verdict is not None:
            self._configurations.ended(entry.job.cell, verdict)

    def verdict(self, cell: str) -> Verdict | None:
        """How a configuration did over its seeds; None while one of them has not ended."""
        return verdict_of([self._entries[trial] for trial in self._cells[cell]], len(self._plan.objectives))

    def _keep_predictions(self, job: Job, end: End) -> None:
        folder = job.folder / "predictions"
        self._storage.insist(lambda: self._storage.fetch(folder))
        found = {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
        mine = {split: array for split, array in found.items() if not split.startswith((_TEACHER, _GOLD))}
        self._store.add_predictions(self._plan.name, job.trial, mine, task=end.task, teacher=end.teacher)
        self._storage.leave(job.folder)
        reference = (end.task or "", end.teacher or "")
        if all(reference) and reference not in self._references:
            gold, teacher = (_with_prefix(found, prefix) for prefix in (_GOLD, _TEACHER))
            self._store.add_reference(*reference, gold, teacher)
            if end.classes:
                self._store.add_notes(self._plan.name, {class_names(reference[0]): end.classes})
            self._references.add(reference)

    # -- looking --------------------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """Return where the sweep stands now."""
        entries = self._entries.values()
        count = dict.fromkeys(("complete", "stopped", "failed", "running"), 0)
        for entry in entries:
            if entry.state in count:
                count[entry.state] += 1
        known = len(self._entries) if self._exhausted else max(self._plan.trials, len(self._entries))
        done = [entry.values[0] for entry in entries if entry.state == "complete" and entry.values]
        finite = [value for value in done if math.isfinite(value)]
        best = max if next(iter(self._plan.objectives.values())) == "max" else min
        return Standing(
            planned=known,
            **count,
            best=best(finite) if finite else None,
            spent=sum(1.0 if entry.state in ENDED else entry.share for entry in entries),
        )


_TEACHER = "teacher-"
_GOLD = "gold-"


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _objective_values(plan: Plan, metrics: Mapping[str, float]) -> tuple[float, ...]:
    """The plan's objectives in order; empty when one of them was not measured."""
    found = [metrics.get(name) for name in plan.objectives]
    return tuple(float(value) for value in found if value is not None) if None not in found else ()


def verdict_of(entries: Iterable[_Entry], objectives: int) -> Verdict | None:
    """Return the mean over seeds; stopped when one was stopped, failed when one failed or measured no number."""
    entries = list(entries)
    if any(entry.state not in ENDED for entry in entries):
        return None
    updates = max(entry.updates for entry in entries)
    seen = [entry.values for entry in entries if len(entry.values) == objectives]
    means = tuple(float(np.mean(column)) for column in zip(*seen, strict=True))
    broken = len(seen) < len(entries) or not all(map(math.isfinite, means))
    if any(entry.state == "failed" for entry in entries):
        return Verdict("failed")
    if any(entry.state == "stopped" for entry in entries):
        return Verdict("stopped", () if broken else means, updates)
    return Verdict("failed") if broken else Verdict("complete", means, updates)


def _write_trial_file(sweep: str, job: Job, storage: Storage) -> None:
    """Leave in the folder what the trial is, for the worker that runs it and for whoever finds the folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    facts = {"sweep": sweep, "trial": job.trial, "cell": job.cell, "seed": job.seed, "values": dict(job.values)}
    text = json.dumps({**facts, "spec": job.spec}, indent=1)
    storage.insist(lambda: storage.write_text(job.folder / TRIAL_FILE, text))

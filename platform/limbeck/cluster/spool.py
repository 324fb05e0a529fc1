"""Writes that can wait: a trial's start costs none of them, and a database that is away for a while costs nothing."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice, takewhile
from typing import Any, NamedTuple

import numpy as np

from limbeck.errors import Problem
from limbeck.store import (
    DatabaseLockedError,
    DatabaseUnreachableError,
    NewSweep,
    NewTrial,
    Outcome,
    Store,
    StoreError,
    SweepState,
    TrialState,
)

Array = np.ndarray[Any, Any]
Act = Callable[[], None]
Together = Callable[[], AbstractContextManager[None]]
AWAY = (DatabaseUnreachableError, DatabaseLockedError)
RETRY_SECONDS = 5.0
_TOGETHER_MOST = 100
PATIENCE_SECONDS = 900.0
"""How long a sweep that has nothing else left to do waits for its database."""


class _Write(NamedTuple):
    came: float
    act: Act
    together: Together | None


class Spool:
    """Does writes in the order they come, a moment later: no trial waits for them.

    What the database cannot take now waits in memory, with its time. Little is lost with this process: a trial's
    results lie in its folder, and a resumed sweep reads them there. Only a trial that had been asked to stop does not
    tell its evaluations again.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        answers: Callable[[], object],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`answers` raises a StoreError, soon, while the database is away."""
        self._say = say
        self._answers = answers
        self._clock = clock
        self._sleep = sleep
        self._waiting: deque[_Write] = deque()
        self._fault: StoreError | None = None
        self._due = 0.0
        self._then: float | None = None

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        return len(self._waiting)

    @property
    def away(self) -> bool:
        """Whether the database did not answer the last time."""
        return self._fault is not None

    def clock(self) -> float:
        """Return the time, for the store: of a write that waited, the time it came."""
        return self._clock() if self._then is None else self._then

    def write(self, act: Act, together: Together | None = None) -> None:
        """Let a write wait for the next `settle`; those that name the same `together` are done in one of it."""
        self._waiting.append(_Write(self._clock(), act, together))

    def settle(self) -> None:
        """Do what waits; a database that is away is asked now and then."""
        if not self._waiting or self._clock() < self._due:
            return
        count = self.waiting
        try:
            if self.away:
                # A connection attempt may take long: a short question comes first.
                self._answers()
            while self._waiting:
                self._do_next()
        except AWAY as error:
            if not self.away:
                self._say(f"{error}. Trials go on; what they tell is written when the database answers")
            self._fault, self._due = error, self._clock() + RETRY_SECONDS
            return
        if self.away:
            self._say(f"the database answers again: {count} writes that waited are done")
        self._fault = None

    def _do_next(self) -> None:
        together = self._waiting[0].together
        alike = takewhile(lambda write: write.together is together, islice(self._waiting, _TOGETHER_MOST))
        writes = list(alike) if together else [self._waiting[0]]
        try:
            with together() if together else nullcontext():
                for self._then, act, _ in writes:
                    act()
        except AWAY:
            raise
        except Exception:
            # They would fail again, and keep others from being done.
            self._drop(len(writes))
            raise
        finally:
            self._then = None
        self._drop(len(writes))

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()

    def flush(self) -> None:
        """Do what waits, however long the database takes. StoreError: it took too long."""
        end = self._clock() + PATIENCE_SECONDS
        self.settle()
        while self._waiting:
            if self._clock() >= end:
                what = f"{self.waiting} writes still wait for the database ({self._fault}); they are made up when"
                raise StoreError(Problem("", f"{what} the sweep is resumed"))
            self._sleep(RETRY_SECONDS)
            self.settle()


class PatientStore:
    """A sweep's store whose writes wait for the spool, all but the first."""

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._together = store.together

    def add_sweep(self, sweep: NewSweep) -> None:
        """Record a new sweep, now. StoreError: the name is taken, or the database is away."""
        self._store.add_sweep(sweep)

    def set_sweep_state(self, sweep: str, state: SweepState) -> None:
        """Set a sweep's state."""
        self._later(lambda: self._store.set_sweep_state(sweep, state))

    def heartbeat(self, sweep: str) -> None:
        """Say that the sweep's driver is alive; a database that is away need not hear it later."""
        if not self._spool.away:
            with suppress(*AWAY):
                self._store.heartbeat(sweep)

    def add_notes(self, sweep: str, notes: Mapping[str, Any]) -> None:
        """Add facts to a sweep's notes."""
        self._later(lambda: self._store.add_notes(sweep, notes))

    def add_trials(self, sweep: str, trials: Sequence[NewTrial]) -> None:
        """Record waiting trials."""
        self._later(lambda: self._store.add_trials(sweep, trials))

    def start_trial(self, sweep: str, trial: str) -> None:
        """Set a trial running."""
        self._later(lambda: self._store.start_trial(sweep, trial))

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
        """Record how far a running trial is."""
        self._later(
            lambda: self._store.record_progress(sweep, trial, updates, updates_total, seconds, metrics, examples)
        )

    def finish_trial(self, sweep: str, trial: str, state: TrialState, outcome: Outcome | None = None) -> None:
        """Record how a trial ended."""
        self._later(lambda: self._store.finish_trial(sweep, trial, state, outcome))

    def add_predictions(
        self,
        sweep: str,
        trial: str,
        predictions: Mapping[str, Array],
        *,
        task: str | None = None,
        teacher: str | None = None,
    ) -> None:
        """Keep a trial's logits."""
        self._later(lambda: self._store.add_predictions(sweep, trial, predictions, task=task, teacher=teacher))

    def add_reference(
        self, task: str, teacher: str, labels: Mapping[str, Array], predictions: Mapping[str, Array]
    ) -> None:
        """Keep a task's gold labels and a teacher's logits, once for all trials."""
        self._later(lambda: self._store.add_reference(task, teacher, labels, predictions))

    def _later(self, act: Act) -> None:
        self._spool.write(act, self._together)

"""The study as other tools read it: in the results database, in Optuna's own tables."""

import copy
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import event

from limbeck.plan import Plan
from limbeck.store import StoreError
from limbeck.store.database import Address, server_settings
from limbeck.store.faults import faults_explained

_LOCK_SECONDS = 60.0


def directions(plan: Plan) -> list[StudyDirection]:
    """Return which way each of the plan's objectives goes."""
    return [StudyDirection.MAXIMIZE if way == "max" else StudyDirection.MINIMIZE for way in plan.objectives.values()]


class Mirror:
    """The study in the results database, in Optuna's own tables: readable by optuna-dashboard."""

    def __init__(self, url: str, plan: Plan, write: Callable[[Callable[[], None]], None] = lambda act: act()) -> None:
        """`write` does what it is handed now or, in the same order, later."""
        self._address = Address(url)
        self._plan = plan
        self._write = write
        self._kept: int | None = 0
        """How many trials are kept; None after a fault, when it is not known what came through."""

    def open(self) -> None:
        """Make Optuna's tables: the half second that this takes is there while actors start, and not later."""
        self._change(partial(getattr, self, "_storage"))

    def trials(self) -> list[FrozenTrial]:
        """Return what is kept, in order."""
        found = self._storage.get_all_trials(self._study)
        self._kept = len(found)
        return found

    def begin(self, trial: FrozenTrial) -> None:
        """Keep a trial that has been asked for."""
        # A copy: by the time it is written the trial may have gone on.
        self._change(partial(self._begin, copy.deepcopy(trial)))

    def end(self, trial: FrozenTrial) -> None:
        """Keep how a trial ended."""
        self._change(partial(self._end, copy.deepcopy(trial)))

    def _begin(self, trial: FrozenTrial) -> None:
        if self._kept is None:
            self._kept = self._storage.get_n_trials(self._study)
        if trial.number == self._kept:
            self._storage.create_new_trial(self._study, template_trial=trial)
            self._kept += 1

    def _end(self, trial: FrozenTrial) -> None:
        mine = self._storage.get_trial_id_from_study_id_trial_number(self._study, trial.number)
        # It has ended already where a fault hid that the write came through.
        with suppress(UpdateFinishedTrialError):
            for step, value in trial.intermediate_values.items():
                self._storage.set_trial_intermediate_value(mine, step, value)
            self._storage.set_trial_state_values(mine, trial.state, trial.values)

    def _change(self, act: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                with faults_explained(self._address.shown):
                    _with_its_cause(act)
            except StoreError:
                self._kept = None
                raise

        self._write(guarded)

    def close(self) -> None:
        """Give the connections back."""
        if "_storage" in self.__dict__:
            self._storage.remove_session()
            self._storage.engine.dispose()

    @cached_property
    def _storage(self) -> RDBStorage:
        local = self._address.file is not None
        settings: dict[str, Any] = {"connect_args": {"timeout": _LOCK_SECONDS}}
        if not local:
            settings = {"pool_pre_ping": True, "connect_args": server_settings(_LOCK_SECONDS)}
        storage = RDBStorage(self._address.url.render_as_string(hide_password=False), engine_kwargs=settings)
        if local:
            # As the results' own connections: WAL is on already, and a commit need not wait for the disk.
            event.listen(storage.engine, "connect", _do_not_wait_for_the_disk)
            storage.engine.dispose()
        return storage

    @cached_property
    def _study(self) -> int:
        ways = directions(self._plan)
        optuna.create_study(study_name=self._plan.name, storage=self._storage, directions=ways, load_if_exists=True)
        study: int = self._storage.get_study_id_from_name(self._plan.name)
        return study


def _with_its_cause(act: Callable[[], None]) -> None:
    """Raise the database's own fault where Optuna hides it in one of its own."""
    try:
        act()
    except StorageInternalError as error:
        raise error.__cause__ or error from None


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")

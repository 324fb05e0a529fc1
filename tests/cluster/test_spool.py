"""Writes that wait for a database, and come to it in order, once, with their time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from limbeck.cluster import spool as module
from limbeck.cluster.spool import PATIENCE_SECONDS, RETRY_SECONDS, PatientStore, Spool
from limbeck.errors import Problem
from limbeck.store import (
    DatabaseDamagedError,
    DatabaseUnreachableError,
    NewSweep,
    NewTrial,
    StoreError,
    open_reader,
    open_store,
)


class Database:
    """Takes writes while it is up, and remembers when they are said to have come."""

    def __init__(self) -> None:
        self.up, self.now, self.asked = True, 1000.0, 0
        self.written: list[tuple[str, float]] = []
        self.said: list[str] = []
        self.spool = Spool(self.said.append, self.answers, lambda: self.now, self.sleep)

    def answers(self) -> None:
        self.asked += 1
        if not self.up:
            raise DatabaseUnreachableError(Problem("db", "no connection"))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def write(self, word: str) -> Callable[[], None]:
        def act() -> None:
            if not self.up:
                raise DatabaseUnreachableError(Problem("db", "no connection"))
            self.written.append((word, self.spool.clock()))

        return act


@pytest.fixture
def database() -> Database:
    return Database()


def test_what_could_not_be_written_is_written_later_in_order_and_with_its_time(database: Database) -> None:
    spool = database.spool
    spool.write(database.write("a"))
    assert database.written == [], "nobody waits for it"
    database.now += 0.5
    spool.settle()
    database.up = False
    spool.write(database.write("b"))
    spool.settle()
    database.now += 1
    spool.write(database.write("c"))
    spool.settle()
    assert (spool.waiting, spool.away, database.asked) == (2, True, 0), "it is not asked all the time"
    database.now += RETRY_SECONDS
    spool.settle()
    assert (spool.waiting, database.asked) == (2, 1)
    database.up = True
    database.now += RETRY_SECONDS
    spool.write(database.write("d"))
    spool.settle()
    assert database.written == [("a", 1000.0), ("b", 1000.5), ("c", 1001.5), ("d", 1001.5 + 2 * RETRY_SECONDS)]
    assert (spool.waiting, spool.away) == (0, False)
    assert database.said[0].startswith("db: no connection. Trials go on;")
    assert database.said[1:] == ["the database answers again: 3 writes that waited are done"]


def test_writes_of_one_kind_are_done_together_or_not_at_all(database: Database) -> None:
    spool = database.spool
    frames: list[list[str]] = []

    @contextmanager
    def together() -> Iterator[None]:
        before = len(database.written)
        try:
            yield
        except DatabaseUnreachableError:
            del database.written[before:]
            raise
        frames.append([word for word, _ in database.written[before:]])

    def goes_away() -> None:
        if not frames:
            database.up = False
        database.write("b")()

    spool.write(database.write("a"), together)
    spool.write(goes_away, together)
    spool.settle()
    assert (database.written, spool.waiting, spool.away) == ([], 2, True)
    spool.write(database.write("c"))
    database.up, database.now = True, database.now + RETRY_SECONDS
    frames.append([])
    spool.write(database.write("d"), together)
    spool.settle()
    assert frames == [[], ["a", "b"], ["d"]]
    assert [word for word, _ in database.written] == ["a", "b", "c", "d"]


def test_the_end_of_a_sweep_waits_for_the_database_but_not_for_ever(database: Database) -> None:
    database.up = False
    database.spool.write(database.write("a"))
    with pytest.raises(StoreError, match=r"1 writes still wait for the database \(.+\); .* when the sweep is resumed"):
        database.spool.flush()
    assert database.now >= 1000 + PATIENCE_SECONDS
    database.up = True
    database.spool.flush()
    assert [word for word, _ in database.written] == ["a"]
    assert database.spool.clock() == database.now


def test_what_waiting_does_not_mend_is_told_at_once(database: Database) -> None:
    def damaged() -> None:
        raise DatabaseDamagedError(Problem("db", "damaged"))

    database.spool.write(damaged)
    with pytest.raises(DatabaseDamagedError):
        database.spool.settle()
    assert database.spool.waiting == 0


def test_a_store_that_is_away_gets_everything_but_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/limbeck.db"
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    away: list[bool] = []

    class Sometimes:
        """The store's methods, with faults."""

        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(*arguments: object, **named: object) -> Any:
                if away:
                    raise DatabaseUnreachableError(Problem("db", "no connection"))
                return getattr(store, name)(*arguments, **named)

            return call

    with open_store(url) as store:
        said: list[str] = []
        spool = Spool(said.append, lambda: None)
        patient = PatientStore(Sometimes(), spool)  # type: ignore[arg-type]
        patient.add_sweep(NewSweep("s", "", "grid", "movies", {"retention": "max"}))
        away.append(True)
        patient.heartbeat("s")
        assert (spool.waiting, spool.away) == (0, False)
        patient.add_trials("s", [NewTrial("t", 0, "c", 0)])
        patient.start_trial("s", "t")
        patient.record_progress("s", "t", 1, 2, 0.5, {"retention": 0.5})
        patient.finish_trial("s", "t", "complete")
        patient.add_notes("s", {"a": 1})
        patient.set_sweep_state("s", "complete")
        patient.heartbeat("s")
        assert spool.waiting == 6
        away.clear()
        spool.flush()
    with open_reader(url) as reader:
        assert (reader.sweep("s").state, reader.sweep("s").notes) == ("complete", {"a": 1})
        assert reader.trial("s", "t").metrics == {"retention": 0.5}

"""Databases that are missing, busy, broken, of another version or in the middle of something."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from limbeck.errors import UserError
from limbeck.store import (
    DatabaseDamagedError,
    DatabaseLockedError,
    DatabaseMissingError,
    DatabaseUnreachableError,
    NewSweep,
    NewTrial,
    NotLimbeckError,
    SchemaNewerError,
    SchemaOlderError,
    StoreError,
    open_reader,
    open_store,
    redact,
    schema,
)

NAMES = ("retention", "loss/total", "loss/kd")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "limbeck.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def filled(url: str) -> str:
    fill(url, updates=50)
    return url


def fill(url: str, updates: int) -> None:
    with open_store(url) as store:
        store.add_sweep(NewSweep("mate", "", "search", "movies", {"retention": "max"}))
        store.add_trials("mate", [NewTrial("t0", 0, "c", 0)])
        for i in range(updates):
            store.record_progress("mate", "t0", i, updates, 1.0, dict.fromkeys(NAMES, float(i)))


@pytest.fixture
def other(filled: str, file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to a filled database."""
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()


def test_a_reader_of_nothing_makes_nothing(url: str, file: Path) -> None:
    with pytest.raises(DatabaseMissingError, match="no results database here yet"):
        open_reader(url)
    assert not file.exists()


def test_a_reader_notices_that_the_file_went_and_came_back(filled: str, file: Path) -> None:
    reader = open_reader(filled)
    file.unlink()
    with pytest.raises(DatabaseMissingError):
        reader.sweeps()
    open_store(filled).close()
    assert reader.sweeps() == []


def test_a_reader_leaves_the_file_as_it_is(filled: str, file: Path) -> None:
    before = file.read_bytes()
    reader = open_reader(filled)
    assert len(reader.metrics("mate")) == 150
    with pytest.raises(DatabaseUnreachableError, match="cannot be written"), reader._connection() as connection:
        connection.execute(text("DELETE FROM limbeck_metrics"))
    assert file.read_bytes() == before


def test_a_reader_of_a_database_in_use_sees_whole_reports(url: str) -> None:
    fill(url, updates=1)
    done = threading.Event()

    def write() -> None:
        with open_store(url) as store:
            for i in range(1, 300):
                store.record_progress("mate", "t0", i, 300, 1.0, dict.fromkeys(NAMES, float(i)))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    reader = open_reader(url)
    while not done.is_set():
        frame = reader.metrics("mate")
        assert set(frame.groupby("updates").size()) == {len(NAMES)}
        seen.append(len(frame) // len(NAMES))
    writer.join()
    assert seen == sorted(seen), "what was seen once stays"
    assert len(set(seen)) > 2, "progress is seen while the writer writes"
    assert len(reader.metrics("mate")) == 300 * len(NAMES)


_ENDLESS = """
import itertools, sys
from limbeck.store import open_store
store = open_store(sys.argv[1])
for i in itertools.count(1000):
    store.record_progress("mate", "t0", i, 10**9, 1.0, {"retention": i, "loss/total": i, "loss/kd": i}, [{"i": i}])
    print(i, flush=True)
"""


def test_a_killed_writer_leaves_whole_reports(filled: str, file: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, filled], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.communicate()[0].splitlines()]
    assert process.returncode == -signal.SIGKILL

    reader = open_reader(filled)
    frame = reader.metrics("mate")
    late = frame[frame["updates"] >= 1000]
    assert set(late.groupby("updates").size()) == {len(NAMES)}
    last = int(late["updates"].max())
    assert last in (said[-1], said[-1] + 1), "what was reported as written is there"
    assert reader.trial("mate", "t0").updates == last
    assert reader.trial("mate", "t0").metrics["retention"] == last
    assert reader.examples("mate", "t0")[-1].updates == last
    with open_store(filled) as store:
        store.record_progress("mate", "t0", last, 10, 1.0, {"retention": 0.0})
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_two_hundred_results_a_second(filled: str) -> None:
    def rate(count: int) -> float:
        start = time.perf_counter()
        for i in range(count):
            store.record_progress("mate", "t0", i, count, 1.0, {f"metric {k}": 0.5 for k in range(10)})
        return count / (time.perf_counter() - start)

    with open_store(filled) as store:
        assert max(rate(100) for _ in range(3)) > 200


def test_a_writer_that_waits_too_long_says_so(filled: str, other: sqlite3.Connection) -> None:
    store = open_store(filled, timeout_seconds=0.05)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseLockedError, match="locked by another process"):
        store.heartbeat("mate")
    assert open_reader(filled).sweep("mate").state == "running", "readers go on meanwhile"
    other.execute("COMMIT")
    store.heartbeat("mate")
    store.close()


def test_a_writer_waits_for_its_turn(filled: str) -> None:
    def write(trial: str) -> None:
        with open_store(filled) as store:
            store.add_trials("mate", [NewTrial(trial, 1, trial, 0)])
            for i in range(30):
                store.record_progress("mate", trial, i, 30, 1.0, {"retention": 1.0})

    writers = [threading.Thread(target=write, args=(f"w{i}",)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [len(open_reader(filled).metrics("mate", f"w{i}")) for i in range(3)] == [30, 30, 30]


def test_a_reader_locked_out_says_so(filled: str, other: sqlite3.Connection) -> None:
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseLockedError, match="locked by another process"):
        open_reader(filled, timeout_seconds=0.05)


def test_several_processes_may_make_the_database_at_once(url: str) -> None:
    faults: list[BaseException] = []

    def make() -> None:
        try:
            open_store(url).close()
        except BaseException as error:
            faults.append(error)

    makers = [threading.Thread(target=make) for _ in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert faults == []
    assert open_reader(url).sweeps() == []


def test_a_new_store_waits_for_another_that_is_being_made(url: str, file: Path) -> None:
    with sqlite3.connect(file, check_same_thread=False, isolation_level=None) as maker:
        maker.execute("BEGIN IMMEDIATE")
        ending = threading.Timer(0.3, maker.execute, ["COMMIT"])
        ending.start()
        open_store(url).close()
        ending.join()
    maker.close()


def test_it_shares_the_database_with_other_tables(url: str, file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.close()
    with pytest.raises(NotLimbeckError, match="holds no limbeck results"):
        open_reader(url)
    open_store(url).close()
    assert open_reader(url).sweeps() == []


def test_files_that_are_no_database(url: str, file: Path) -> None:
    file.write_text("name: mate\n" * 1000)
    with pytest.raises(NotLimbeckError, match="not a database"):
        open_reader(url)
    with pytest.raises(NotLimbeckError, match="not a database"):
        open_store(url)
    assert file.read_text().startswith("name: mate")
    file.write_bytes(b"")
    with pytest.raises(NotLimbeckError):
        open_reader(url)


def test_a_damaged_file_is_called_damaged(filled: str, file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(DatabaseDamagedError, match="damaged"):
        open_reader(filled).metrics("mate")
    with pytest.raises(DatabaseDamagedError, match="damaged"):
        open_store(filled)


def set_version(file: Path, version: int) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE limbeck_meta SET schema_version = ?", (version,))
    connection.close()


def test_a_newer_schema_is_left_alone(filled: str, file: Path) -> None:
    set_version(file, 99)
    for opening in (open_reader, open_store):
        with pytest.raises(SchemaNewerError, match=r"schema 99, this one knows 1.*upgrade limbeck"):
            opening(filled)


def _to_2(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE limbeck_sweeps ADD COLUMN owner TEXT"))
    connection.execute(text("UPDATE limbeck_sweeps SET owner = 'nobody'"))


def _to_3_fails(connection: Connection) -> None:
    raise RuntimeError("power cut")


def test_an_older_schema_is_upgraded_by_the_writer_only(
    filled: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: _to_2})
    with pytest.raises(SchemaOlderError, match=r"schema 1, now 2.*limbeck sweeps"):
        open_reader(filled)
    open_store(filled).close()
    reader = open_reader(filled)
    assert len(reader.metrics("mate")) == 150
    with reader._connection() as connection:
        assert connection.execute(text("SELECT owner FROM limbeck_sweeps")).scalars().all() == ["nobody"]
    open_store(filled).close()


def test_an_upgrade_that_breaks_off_changes_nothing(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(schema, "SCHEMA_VERSION", 3)
        later.setattr(schema, "MIGRATIONS", {1: _to_2, 2: _to_3_fails})
        with pytest.raises(RuntimeError, match="power cut"):
            open_store(filled)
    reader = open_reader(filled)
    assert len(reader.metrics("mate")) == 150
    with reader._connection() as connection:
        columns = connection.execute(text("SELECT name FROM pragma_table_info('limbeck_sweeps')")).scalars().all()
    assert "owner" not in columns


def test_every_version_has_its_upgrade() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.SCHEMA_VERSION))


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="needs to become another user")
def test_a_folder_without_the_right_to_write(filled: str, file: Path, tmp_path: Path) -> None:
    public = Path("/tmp") / f"limbeck-readonly-{os.getpid()}"
    public.mkdir(mode=0o755)
    try:
        shutil.copy(file, public / "limbeck.db")
        (public / "limbeck.db").chmod(0o644)
        code = f"""
import os, sys
from limbeck.store import open_reader, open_store, DatabaseUnreachableError
os.setgid(65534); os.setuid(65534)
url = "sqlite:///{public}/limbeck.db"
print(len(open_reader(url).metrics("mate")))
try:
    open_store(url).heartbeat("mate")
except DatabaseUnreachableError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(public)
    count, refused = done.stdout.splitlines()
    assert count == "150"
    assert "rights" in refused


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("runs/limbeck.db", "For a file write sqlite:///runs/limbeck.db"),
        ("sqlite://", "the database must be a file"),
        ("sqlite:///:memory:", "the database must be a file"),
        ("sqlite:///a.db?timeout=5", "paths with a \\?"),
        ("mysql://u:hunter2@host/db", "'mysql' is not supported"),
        ("postgresql://u:hunter2@more@host/db", "%40"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "cannot be used"),
        ("postgresql://u:hunter2@127.0.0.1:port/db", "no database URL"),
        ("postgresql://u@127.0.0.1:1/db?password=hunter2", "cannot be used"),
        ("u:hunter2@host/db", "^\\*\\*\\*@host/db: this is no database URL. For a server write"),
        ("host=db user=me password=hunter2 dbname=x", "For a server write postgresql"),
        ("host=db user=me password = 'hunter2' dbname=x", "For a server write postgresql"),
    ],
)
def test_addresses_that_lead_nowhere_keep_the_password(url: str, words: str) -> None:
    for opening in (open_reader, open_store):
        with pytest.raises(UserError, match=words) as caught:
            opening(url)
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseUnreachableError, match="limbeck\\[postgresql\\]"):
        open_store("postgresql://u:hunter2@host/db")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql+psycopg://ann:s3cret@db:5432/x", "postgresql+psycopg://ann:***@db:5432/x"),
        ("at s3://key:s3cret@bucket/a and http://u:s3@cret@h", "at s3://key:***@bucket/a and http://u:***@h"),
        ("redis://:s3cret@h", "redis://:***@h"),
        ("postgresql://h/x?user=ann&password=s3cret&sslmode=on", "postgresql://h/x?user=ann&password=***&sslmode=on"),
        ("host=h password=s3cret dbname=x", "host=h password=*** dbname=x"),
        ("host=h password = 's3 cret' dbname=x", "host=h password = *** dbname=x"),
        ("sqlite:///a:b/c.db and ann@example.org", "sqlite:///a:b/c.db and ann@example.org"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_a_store_prints_its_address(filled: str) -> None:
    assert repr(open_reader(filled)) == f"Reader({filled})"
    with open_store(filled) as store:
        assert repr(store) == f"Store({filled})"
    assert issubclass(StoreError, UserError)

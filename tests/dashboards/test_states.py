"""A database that is missing, locked, older, newer, broken or somebody else's: a clear page, and nothing written."""

import hashlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.store import NewSweep, NewTrial, open_store

from .conftest import Open, copyable, numbers, run, said
from .demo import build

PAGES = ["overview", "sweep", "trial"]
HALF_WRITTEN = """
import os, signal, sqlite3, sys
from limbeck.store import open_store
store = open_store(f"sqlite:///{sys.argv[1]}")
store.start_trial("kd", "t0")
store.record_progress("kd", "t0", 20, 100, 1.0, {"retention": 0.5})
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("PRAGMA cache_size = 2")
other.execute("BEGIN IMMEDIATE")
other.execute("UPDATE limbeck_trials SET updates = 99")
insert = "INSERT INTO limbeck_metrics (sweep, trial, name, updates, value) VALUES ('kd', 't0', 'retention', ?, 0.9)"
other.executemany(insert, [(i,) for i in range(21, 5000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(at_nothing: Path) -> Path:
    """A small database."""
    path = at_nothing / "limbeck.db"
    with open_store(f"sqlite:///{path}") as store:
        store.add_sweep(NewSweep("kd", "name: kd\nbase: {}\n", "search", "movies", {"retention": "max"}, 3))
        store.add_trials("kd", [NewTrial("t0", 0, "c0", 0)])
    return path


def prints(folder: Path) -> dict[str, str]:
    """What lies in a folder, by content; less the two empty helpers that readers of a database in WAL mode need."""
    files = [p for p in sorted(folder.iterdir()) if not p.name.endswith(("-shm", "-wal"))]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("page", PAGES)
def test_nothing_there_yet(at_nothing: Path, open_page: Open, page: str) -> None:
    app = open_page(page)
    assert "No results yet" in said(app)
    assert "limbeck sweep quickstart" in said(app)
    assert list(at_nothing.iterdir()) == []


def test_the_page_opens_when_the_first_sweep_has_begun(at_nothing: Path, open_page: Open) -> None:
    app = open_page("sweep")
    assert "No results yet" in said(app)
    with open_store(f"sqlite:///{at_nothing / 'limbeck.db'}") as store:
        store.add_sweep(NewSweep("kd", "name: kd\n", "search", "movies", {"retention": "max"}, 3))
    run(app)
    assert app.selectbox[0].value == "kd"
    assert "No trials yet" in said(app)


def test_a_database_without_sweeps(at_nothing: Path, open_page: Open) -> None:
    open_store(f"sqlite:///{at_nothing / 'limbeck.db'}").close()
    for page in ("overview", "sweep", "retention", "ablations", "trial", "compare", "export"):
        assert "limbeck sweep" in said(open_page(page))


@pytest.mark.parametrize(
    ("version", "title", "command"),
    [
        (0, "An older limbeck wrote these results", "limbeck sweeps"),
        (99, "A newer limbeck wrote these results", "pip install --upgrade limbeck"),
    ],
)
def test_another_schema(file: Path, open_page: Open, version: int, title: str, command: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE limbeck_meta SET schema_version = ?", (version,))
    connection.close()
    before = prints(file.parent)
    app = open_page("sweep", sweep="kd")
    assert title in said(app)
    assert command in copyable(app)
    assert prints(file.parent) == before


def test_locked_by_another_process(file: Path, open_page: Open) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        app = open_page()
        assert "The database is locked" in said(app)
    finally:
        other.rollback()
        other.close()
    run(app)
    assert "The database is locked" not in said(app)
    assert app.dataframe[0].value["sweep"].tolist() == ["kd"]


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 40, b""])
def test_somebody_elses_file(at_nothing: Path, open_page: Open, content: bytes) -> None:
    (at_nothing / "limbeck.db").write_bytes(content)
    app = open_page()
    assert "These are not limbeck's results" in said(app)
    assert (at_nothing / "limbeck.db").read_bytes() == content


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_lost_its_end(at_nothing: Path, open_page: Open, page: str) -> None:
    file = at_nothing / "limbeck.db"
    build(at_nothing)
    # Its first pages are whole: that it is damaged shows only when rows are read.
    file.write_bytes(file.read_bytes()[: 64 * 1024])
    before = prints(at_nothing)
    app = open_page(page)
    assert "The database is damaged" in said(app)
    assert "Restore the file from a backup" in said(app)
    assert prints(at_nothing) == before


def test_a_sweep_killed_while_it_wrote(file: Path, open_page: Open) -> None:
    """What was committed is shown, the half of a transaction is not, and the killed writer's log is left alone."""
    killed = subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    log = file.with_name("limbeck.db-wal")
    before, left = prints(file.parent), log.read_bytes()
    assert left, "the writer had no time to tidy up"
    app = open_page("trial", sweep="kd", trial="t0")
    assert numbers(app)["Updates"] == "20 of 100"
    app = open_page("sweep", sweep="kd")
    assert "1 of 1 trials" in said(app)
    assert (prints(file.parent), log.read_bytes()) == (before, left)


def test_an_address_that_is_none(at_nothing: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    monkeypatch.setenv("LIMBECK_DATABASE", "mysql://user:secret@host/name")
    app = open_page()
    assert "is not supported" in said(app).replace("\\", "")
    assert "secret" not in said(app)


def test_looking_writes_nothing(file: Path, open_page: Open) -> None:
    before = prints(file.parent)
    for page in ("overview", "sweep", "retention", "trial", "compare", "export"):
        open_page(page)
    assert prints(file.parent) == before


def test_pages_are_no_folder_that_streamlit_runs_without_the_app() -> None:
    """A folder `pages` beside the app would be served page by page, past sign-in, until the app has run once."""
    from .conftest import DASHBOARDS

    assert not (DASHBOARDS / "pages").exists()

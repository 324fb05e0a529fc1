"""A PostgreSQL server for tests: made in a folder, on loopback, stopped and started at will."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

_START_SECONDS = 30.0
_LEAVE_SECONDS = 2.0
_FAST = ("fsync=off", "full_page_writes=off", "max_wal_size=64MB", "shared_buffers=32MB")
_USER = "limbeck"


def binaries() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def required_binaries() -> Path:
    """The same; without a server the test is skipped, but fails where all tests must run."""
    found = binaries()
    if found is None:
        what = "PostgreSQL is not installed (apt-get install postgresql): its tests do not run"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return found


class Server:
    """One server; `start` and `kill` as often as wanted, its data stays."""

    def __init__(self, folder: Path, port: int, *, durable: bool = False) -> None:
        """`durable` writes through to the disk, as a server in earnest does."""
        folder.mkdir(exist_ok=True)
        self._settings = () if durable else _FAST
        self._bin, self._data, self._port = required_binaries(), folder / "data", port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._as = _other_user()
        if self._as:
            # The server refuses to run as root; its user must get to the folder.
            os.chown(folder, self._as["user"], self._as["group"])
            for parent in folder.parents[:-1]:
                if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o001)
        self._run("initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run([str(self._bin / program), *words], check=True, capture_output=True, cwd="/", **self._as)

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [f"-c{setting}" for setting in (*self._settings, f"port={self._port}", "listen_addresses=127.0.0.1")]
        settings += [f"-cunix_socket_directories={self._folder}"]
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._data), *settings],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._as,
            )
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self._address("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < end and self._process.poll() is None, "PostgreSQL did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, connections or not."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        family = [self._process.pid, *(_children(self._process.pid) if how == signal.SIGKILL else ())]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        self._process.wait(20)
        self._process = None

    def new_database(self, name: str) -> str:
        """Return the URL of a database that was not there before."""
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self._port}/{name}"

    def connections(self, name: str) -> int:
        """Return how many connections to a database are open, once those that were given back are gone."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        end = time.monotonic() + _LEAVE_SECONDS
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            while True:
                row = connection.execute(query, (name,)).fetchone()
                assert row
                if row[0] == 0 or time.monotonic() > end:
                    return int(row[0])
                time.sleep(0.05)

    def _address(self, database: str) -> str:
        return f"host=127.0.0.1 port={self._port} user={_USER} dbname={database}"


def _children(parent: int) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.add(int(folder.name))
    return found


def _other_user() -> dict[str, Any]:
    """Whom to run as, as subprocess takes it; nobody else unless this is root."""
    if os.getuid():
        return {}
    try:
        found = pwd.getpwnam("postgres")
    except KeyError:
        found = pwd.getpwnam("nobody")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}

"""Addresses of databases and connections to them."""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from limbeck.errors import Problem
from limbeck.store.faults import DatabaseUnreachableError, StoreError, redact
from limbeck.store.values import dump_json

_USERINFO = re.compile(r"^([^@]*?://)?.*@")


class Address:
    """A database URL that was checked; prints without its password."""

    def __init__(self, url: str) -> None:
        self.shown = _USERINFO.sub(r"\1***@", redact(url))
        self.url = self._parsed(url)
        self.file: Path | None = None
        if self.url.get_backend_name() == "sqlite":
            self.file = self._file(url)
        else:
            self.shown = redact(self.url.render_as_string(hide_password=True))

    def __repr__(self) -> str:
        return self.shown

    def _parsed(self, url: str) -> URL:
        if url.startswith("postgres://"):
            url = url.replace("postgres", "postgresql", 1)
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise StoreError(Problem(self.shown, f"this is no database URL. {_hint(url)}".strip())) from None
        if parsed.drivername in ("postgresql", "postgresql+psycopg"):
            if "@" in (parsed.host or ""):
                raise StoreError(Problem(self.shown, "write an @ inside the password as %40"))
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            return parsed
        what = f"'{parsed.drivername}' is not supported. Use sqlite:///path or postgresql+psycopg://user@host/name"
        raise StoreError(Problem(self.shown, what))

    def _file(self, url: str) -> Path:
        name = self.url.database
        if not name or name == ":memory:" or name.startswith("file:"):
            raise StoreError(Problem(self.shown, "the database must be a file: sqlite:///path/to/limbeck.db"))
        if "?" in url:
            raise StoreError(Problem(self.shown, "neither options nor paths with a ? are supported for SQLite"))
        # Absolute at once: a process that changes its folder later must not open another file.
        return Path(name).absolute()


def holds_password(url: str) -> bool:
    """Say whether whoever reads the URL reads a password. StoreError: it is no database URL."""
    return Address(url).url.password is not None or redact(url) != url


def _hint(url: str) -> str:
    if "://" in url:
        return ""
    # As PostgreSQL's own tools take it: a password may be in it, and is not said again.
    server = "=" in url or "@" in url
    return "For a server write postgresql+psycopg://user@host/name" if server else f"For a file write sqlite:///{url}"


def writing_engine(address: Address, timeout_seconds: float) -> Engine:
    """Return an engine that writes: SQLite in WAL mode, its transactions taking the write lock when they begin."""
    file = address.file
    if file is None:
        return _server_engine(address, timeout_seconds)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
        try:
            _write_ahead(connection, timeout_seconds)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA cache_size=-65536")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, json_serializer=dump_json, hide_parameters=True
    )
    # IMMEDIATE: a transaction that reads first and writes later could otherwise fail in the middle, without waiting.
    _begin_with(engine, "BEGIN IMMEDIATE")
    return engine


def _write_ahead(connection: sqlite3.Connection, timeout_seconds: float) -> None:
    """Switch a database to WAL. SQLite itself does not wait where two processes switch a new one at the same time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def reading_engine(address: Address, timeout_seconds: float) -> Engine:
    """Return an engine that cannot write: mode=ro for SQLite, read-only transactions for PostgreSQL."""
    file = address.file
    if file is None:
        engine = _server_engine(address, timeout_seconds)
        # One snapshot for all the questions of one answer, as SQLite gives.
        return engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")

    def connect() -> sqlite3.Connection:
        uri = f"file:{quote(str(file))}?mode=ro"
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as error:
            connection.close()
            log = Path(f"{file}-wal")
            idle = not log.exists() or log.stat().st_size == 0
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or not idle:
                raise
            # A folder we may not write to: SQLite cannot place its shared-memory file there. Nobody is writing
            # (nothing in the log of changes), so the file can be read as it lies.
            return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # A fresh connection each time costs 0.1 ms and never shows a file that has been replaced meanwhile.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    _begin_with(engine, "BEGIN")
    return engine


def server_settings(timeout_seconds: float) -> dict[str, Any]:
    """Return how to connect to a server: for how long to try, and when to give a silent connection up."""
    wait_ms = int(timeout_seconds * 1000)
    return {
        "connect_timeout": max(2, int(timeout_seconds)),
        "options": f"-c lock_timeout={wait_ms}",
        # Without these a server that vanished behind a firewall would be waited for a quarter of an hour.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": wait_ms,
    }


def _server_engine(address: Address, timeout_seconds: float) -> Engine:
    try:
        return create_engine(
            address.url,
            json_serializer=dump_json,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args=server_settings(timeout_seconds),
        )
    except ModuleNotFoundError:
        what = "PostgreSQL needs its driver: pip install 'limbeck[postgresql]'"
        raise DatabaseUnreachableError(Problem(address.shown, what)) from None


def _begin_with(engine: Engine, statement: str) -> None:
    """Begin SQLite's transactions ourselves; Python's driver would begin them late and not around DDL or SELECT."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)

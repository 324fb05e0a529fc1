"""The database's faults told in the user's words. Passwords stay out of every word."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError

from limbeck.errors import Problem, UserError


class StoreError(UserError):
    """The results database cannot be used as asked."""


class DatabaseMissingError(StoreError):
    """There is no such database."""


class DatabaseLockedError(StoreError):
    """Another process holds the database for longer than we wait."""


class DatabaseUnreachableError(StoreError):
    """The server or the file cannot be opened or written."""


class DatabaseDamagedError(StoreError):
    """The file is broken."""


class NotLimbeckError(StoreError):
    """There is a database or a file, but not one of limbeck's."""


class SchemaOlderError(StoreError):
    """An older limbeck wrote it, and a reader changes nothing."""


class SchemaNewerError(StoreError):
    """A newer limbeck wrote it."""


_USERINFO = re.compile(r"(://[^\s:/@]*):[^\s]*@")
_FIELD = re.compile(
    r"(?i)\b((?:ssl)?password|passwd|pwd|secret|(?:access_?|auth_?)?token|secret_?key)(\s?=\s?)"
    r"('[^']*'|\"[^\"]*\"|[^\s&;'\"]+)"
)


def redact(text: str) -> str:
    """Return `text` with the passwords of URLs and `password=…` fields replaced by three stars."""
    return _FIELD.sub(r"\1\2***", _USERINFO.sub(r"\1:***@", text))


@contextmanager
def faults_explained(shown: str) -> Iterator[None]:
    """Turn the database's faults that a user can mend into a StoreError. Other errors pass: they are bugs."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        found = _explain(original, shown)
        if found is None:
            raise
        raise found from None


_LOCKED = "the database is locked by another process; try again when it is done"
_SQLITE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (DatabaseLockedError, _LOCKED),
    sqlite3.SQLITE_LOCKED: (DatabaseLockedError, _LOCKED),
    sqlite3.SQLITE_CORRUPT: (DatabaseDamagedError, "the file is damaged: restore it from a backup, or move it away"),
    sqlite3.SQLITE_NOTADB: (NotLimbeckError, "this file is not a database"),
    sqlite3.SQLITE_CANTOPEN: (DatabaseUnreachableError, "the file cannot be opened: check the path and its rights"),
    sqlite3.SQLITE_READONLY: (DatabaseUnreachableError, "the file cannot be written: check the folder's rights too"),
    sqlite3.SQLITE_PERM: (DatabaseUnreachableError, "no permission to use the file"),
    sqlite3.SQLITE_FULL: (DatabaseUnreachableError, "the disk is full"),
    sqlite3.SQLITE_IOERR: (DatabaseUnreachableError, "the disk reports an error; a network disk cannot hold SQLite"),
}
_POSTGRES_LOCKED = ("55P03", "40P01", "57014")
_POSTGRES_CLASSES = ("08", "28", "3D", "42501", "53", "57P")


def _explain(error: Any, shown: str) -> StoreError | None:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        known = _SQLITE.get((code or 0) & 0xFF)
        return known[0](Problem(shown, known[1])) if known else None
    state = getattr(error, "sqlstate", None) or ""
    if state in _POSTGRES_LOCKED:
        return DatabaseLockedError(Problem(shown, _LOCKED))
    if type(error).__name__ == "OperationalError" or state.startswith(_POSTGRES_CLASSES):
        lines = redact(str(error)).strip().splitlines() or ["no connection"]
        return DatabaseUnreachableError(Problem(shown, f"the database cannot be used: {lines[0].strip()}"))
    return None

"""Whether a database can be used, said in words, without changing it."""

import os
from pathlib import Path

from sqlalchemy import Connection, text

from limbeck.errors import Problem
from limbeck.store import schema
from limbeck.store.database import Address, reading_engine
from limbeck.store.faults import DatabaseUnreachableError, SchemaNewerError, faults_explained

EMPTY = "the first sweep makes its tables"


def database_state(url: str, *, timeout_seconds: float = 5.0) -> str:
    """Return what state the database at `url` is in. StoreError: it cannot be reached, or not be written."""
    address = Address(url)
    if address.file is not None and not address.file.exists():
        return _missing_file(address, address.file)
    engine = reading_engine(address, timeout_seconds)
    try:
        with faults_explained(address.shown), engine.connect() as connection:
            return _state(address, connection)
    finally:
        engine.dispose()


def _missing_file(address: Address, file: Path) -> str:
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DatabaseUnreachableError(Problem(address.shown, f"it cannot be made: {folder} cannot be written"))
    return EMPTY


def _state(address: Address, connection: Connection) -> str:
    if not connection.dialect.has_table(connection, schema.meta.name):
        if connection.dialect.name == "postgresql" and not _may_create(connection):
            what = "its user may not make tables: GRANT CREATE ON SCHEMA public TO that user"
            raise DatabaseUnreachableError(Problem(address.shown, what))
        return EMPTY
    found, known = schema.stored_version(connection) or 0, schema.SCHEMA_VERSION
    if found > known:
        what = f"written by a newer limbeck (schema {found}, this one knows {known}): upgrade limbeck"
        raise SchemaNewerError(Problem(address.shown, what))
    return f"schema {found}" + (f", which the next sweep upgrades to {known}" if found < known else "")


def _may_create(connection: Connection) -> bool:
    query = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
    return bool(connection.execute(query).scalar())

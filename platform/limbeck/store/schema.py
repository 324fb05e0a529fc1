"""The tables, their version, and how an older version becomes the present one."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Update,
    bindparam,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

SCHEMA_VERSION = 1
MIGRATIONS: dict[int, Callable[[Connection], None]] = {}
"""Version n -> what turns its tables into those of n + 1, in plain SQL: `metadata` knows the newest only."""

metadata = MetaData()
_JSON = JSON(none_as_null=True)

meta = Table("limbeck_meta", metadata, Column("schema_version", Integer, primary_key=True, autoincrement=False))

sweeps = Table(
    "limbeck_sweeps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("objectives", _JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("trials_planned", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("notes", _JSON, nullable=False),
)

trials = Table(
    "limbeck_trials",
    metadata,
    Column("sweep", Text, primary_key=True),
    Column("trial", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("cell", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("values", _JSON, nullable=False),
    Column("updates", BigInteger, nullable=False),
    Column("updates_total", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("parameters", BigInteger),
    Column("score", Double),  # the first objective, for ordering without parsing JSON
    Column("objective", _JSON, nullable=False),
    Column("retention", Double),
    Column("metrics", _JSON, nullable=False),
    Column("error", Text),
    Column("folder", Text),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("updated", Double, nullable=False),
    Column("finished", Double),
    # The long ones last: SQLite reads a row from the left and skips what is not asked for.
    Column("spec", _JSON, nullable=False),
    Column("traceback", Text),
    Column("log", Text),
    Index("limbeck_trials_by_state", "sweep", "state", "score"),
)

# Clustered by the primary key in SQLite (no rowid): one trial's curves lie side by side.
metrics = Table(
    "limbeck_metrics",
    metadata,
    Column("sweep", Text, primary_key=True),
    Column("trial", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("updates", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double),  # NULL: not a finite number
    # Covers the question of every chart, one metric of all trials, without going to the rows.
    Index("limbeck_metrics_by_name", "sweep", "name", "trial", "updates", "value"),
    sqlite_with_rowid=False,
)

examples = Table(
    "limbeck_examples",
    metadata,
    Column("sweep", Text, primary_key=True),
    Column("trial", Text, primary_key=True),
    Column("updates", BigInteger, primary_key=True, autoincrement=False),
    Column("rows", _JSON, nullable=False),
)


def _array() -> list[Column[Any]]:
    """Columns of one array: raw little-endian bytes, numpy's name of the type, and the shape (columns 0: a vector)."""
    return [
        Column("dtype", Text, nullable=False),
        Column("rows", Integer, nullable=False),
        Column("columns", Integer, nullable=False),
        Column("data", LargeBinary, nullable=False),
    ]


predictions = Table(
    "limbeck_predictions",
    metadata,
    Column("sweep", Text, primary_key=True),
    Column("trial", Text, primary_key=True),
    Column("split", Text, primary_key=True),
    Column("task", Text),  # fingerprints: which gold labels and which teacher belong to it
    Column("teacher", Text),
    *_array(),
)

gold = Table(
    "limbeck_gold",
    metadata,
    Column("task", Text, primary_key=True),
    Column("split", Text, primary_key=True),
    *_array(),
)

teacher_predictions = Table(
    "limbeck_teacher_predictions",
    metadata,
    Column("task", Text, primary_key=True),
    Column("teacher", Text, primary_key=True),
    Column("split", Text, primary_key=True),
    *_array(),
)


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *replace: str) -> None:
    """Insert rows; where the primary key exists, set the columns in `replace`, or leave the old row alone."""
    if rows:
        connection.execute(_put(connection.dialect.name, table, replace), [dict(row) for row in rows])


def change(connection: Connection, table: Table, key: tuple[str, ...], new: Mapping[str, Any]) -> None:
    """Set columns of the row with that primary key. KeyError: there is none."""
    names = [column.name for column in table.primary_key.columns]
    at = {f"key_{name}": value for name, value in zip(names, key, strict=True)}
    values = {f"new_{name}": value for name, value in new.items()}
    if connection.execute(_change(table, tuple(new)), {**at, **values}).rowcount != 1:
        raise KeyError(f"{table.name} has no {'/'.join(key)}")


# Building a statement costs more than running it, so each is built once.
@cache
def _put(dialect: str, table: Table, replace: tuple[str, ...]) -> Insert:
    key = list(table.primary_key.columns)
    # The two dialects spell it alike but share no class: the only dialect-specific statement of the store.
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_={n: statement.excluded[n] for n in replace})


@cache
def _change(table: Table, names: tuple[str, ...]) -> Update:
    mine = [column == bindparam(f"key_{column.name}", type_=column.type) for column in table.primary_key.columns]
    return update(table).where(*mine).values({n: bindparam(f"new_{n}", type_=table.c[n].type) for n in names})


def stored_version(connection: Connection) -> int | None:
    """Return the schema's version, None where the table that says it is empty."""
    return connection.execute(select(meta.c.schema_version)).scalar()


def create_or_upgrade(connection: Connection) -> int | None:
    """Bring the tables to SCHEMA_VERSION inside the caller's transaction; return the version found, None when new.

    Leaves a newer schema as it is. Safe against a second process doing the same: the caller holds SQLite's write
    lock, and PostgreSQL's writers queue for an advisory lock that ends with the transaction.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7811620311)"))
    if not connection.dialect.has_table(connection, meta.name):
        metadata.create_all(connection)
        connection.execute(insert(meta).values(schema_version=SCHEMA_VERSION))
        return None
    found = stored_version(connection) or 0
    for version in range(found, SCHEMA_VERSION):
        MIGRATIONS[version](connection)
        connection.execute(update(meta).values(schema_version=version + 1))
    return found

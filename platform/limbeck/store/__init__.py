"""The results database: one writer, many readers, SQLite or PostgreSQL."""

from limbeck.store.faults import (
    DatabaseDamagedError,
    DatabaseLockedError,
    DatabaseMissingError,
    DatabaseUnreachableError,
    NotLimbeckError,
    SchemaNewerError,
    SchemaOlderError,
    StoreError,
    redact,
)
from limbeck.store.reader import Reader, open_reader
from limbeck.store.rows import (
    ExamplesRow,
    NewSweep,
    NewTrial,
    Outcome,
    Predictions,
    SweepRow,
    SweepState,
    TrialRow,
    TrialState,
)
from limbeck.store.schema import SCHEMA_VERSION
from limbeck.store.writer import Store, open_store

__all__ = [
    "SCHEMA_VERSION",
    "DatabaseDamagedError",
    "DatabaseLockedError",
    "DatabaseMissingError",
    "DatabaseUnreachableError",
    "ExamplesRow",
    "NewSweep",
    "NewTrial",
    "NotLimbeckError",
    "Outcome",
    "Predictions",
    "Reader",
    "SchemaNewerError",
    "SchemaOlderError",
    "Store",
    "StoreError",
    "SweepRow",
    "SweepState",
    "TrialRow",
    "TrialState",
    "open_reader",
    "open_store",
    "redact",
]

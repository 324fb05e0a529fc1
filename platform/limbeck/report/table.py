"""A table of raw values with what is known about its columns, and how one value reads."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

Cell = Any
"""str, int, float, bool, None, or a list or dict of these (shown as JSON)."""
Kind = Literal["text", "number", "percent", "count", "duration", "bytes"]
NOTHING = "–"
"""What stands for None and NaN."""


@dataclass(frozen=True)
class Column:
    """What a column holds. Raw values go in: a percent as a fraction, a duration in seconds."""

    key: str
    """The name scripts see: in JSON and CSV."""
    title: str = ""
    """The name people see; default: the key."""
    kind: Kind = "text"
    digits: int | None = None
    """Digits after the point; default: 1, and for numbers four significant ones."""
    best: Literal["max", "min"] | None = None
    """Which values are set in bold."""
    signed: bool = False
    """Write a plus before positive values: for differences."""

    @property
    def heading(self) -> str:
        return self.title or self.key

    @property
    def numeric(self) -> bool:
        return self.kind != "text"


@dataclass(frozen=True)
class Table:
    """Columns and rows of raw values, one value a column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} values in a table of {len(self.columns)} columns: {row}")


def show(value: Cell, column: Column) -> str:
    """Return a value as people read it: 97.3 %, 7.4 M, 1 m 20 s. Text is one printable line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and column.numeric:
        text = _number(value, column)
        return f"−{text[1:]}" if text[0] == "-" else f"+{text}" if column.signed and value > 0 else text
    text = json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value)
    # Line breaks would break the table, and escape sequences in an error message would drive the terminal.
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _number(value: float, column: Column) -> str:
    digits = 1 if column.digits is None else column.digits
    if math.isinf(value):
        return str(value)
    if column.kind == "percent":
        return f"{_fixed(100 * value, digits)} %"
    if column.kind == "count":
        return _scaled(value, digits, ("", " k", " M", " G", " T"))
    if column.kind == "bytes":
        return _scaled(value, digits, (" B", " kB", " MB", " GB", " TB"))
    if column.kind == "duration":
        return _duration(value, digits)
    if column.digits is not None:
        return _fixed(value, digits)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def _scaled(value: float, digits: int, units: tuple[str, ...]) -> str:
    """Return a number in the unit that leaves one to three digits before the point."""
    if abs(value) < 1000:
        return (f"{value}" if isinstance(value, int) else f"{value:.4g}") + units[0]
    step = 1
    while step < len(units) - 1 and abs(round(value / 1000**step, digits)) >= 1000:
        step += 1
    return f"{_fixed(value / 1000**step, digits)}{units[step]}"


def _duration(seconds: float, digits: int) -> str:
    """Return seconds in the two largest units that say something."""
    if seconds < 0:
        return f"-{_duration(-seconds, digits)}"
    if 0 < seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    if round(seconds, digits) < 60:
        return f"{_fixed(seconds, digits)} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} m {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes} m"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def best_rows(table: Table, place: int) -> frozenset[int]:
    """Return the rows that hold the best value of the column at `place`; none where nothing is to compare."""
    column = table.columns[place]
    values = {
        i: float(row[place])
        for i, row in enumerate(table.rows)
        if isinstance(row[place], (int, float)) and not isinstance(row[place], bool) and not math.isnan(row[place])
    }
    if column.best is None or len(values) < 2:
        return frozenset()
    best = max(values.values()) if column.best == "max" else min(values.values())
    return frozenset(i for i, value in values.items() if value == best)

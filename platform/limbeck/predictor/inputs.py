"""Texts to classify, one row at a time: from lines, or from the columns of a table that may be larger than memory."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.predictor import Row
from limbeck.texts import is_whole

DEFAULT_COLUMN = "text"
_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_ROWS_AT_ONCE = 4096
HALF = "holds half of a surrogate pair, which is no text"


def line_rows(lines: Iterable[bytes], columns: int, where: str = "standard input") -> Iterator[Row]:
    """Yield the texts of each line; a pair is parted by a tab. UserError: a line that is not UTF-8, or not a pair."""
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(Problem(f"{where}, line {number}", "not UTF-8 text")) from None
        texts = tuple(line.split("\t")) if columns > 1 else (line,)
        if len(texts) != columns:
            what = f"this model takes {columns} texts parted by a tab, got {len(texts)}"
            raise UserError(Problem(f"{where}, line {number}", what))
        yield texts


def table_rows(path: Path, wanted: Sequence[str], columns: int) -> Iterator[Row]:
    """Yield the texts of each row of a CSV, TSV, JSON lines or Parquet file; a pair lies in two columns.

    Without `wanted` the column `text`, or a table's only one, is taken. Blank lines are no rows, as in training.
    UserError: no such file or column, a cell that is not text, a file that cannot be read.
    """
    if wanted and len(wanted) != columns:
        what = f"this model takes {columns} text column{'s' if columns > 1 else ''}, got {len(wanted)}"
        raise UserError(Problem("--text", what))
    if path.suffix.lower() not in _ENDINGS:
        raise UserError(Problem(str(path), f"must end in {', '.join(_ENDINGS)}"))
    if not path.is_file():
        raise UserError(Problem(str(path), "no such file"))
    read = {".parquet": _parquet, ".jsonl": _json_lines}.get(path.suffix.lower(), _csv)
    try:
        for number, cells in enumerate(read(path, wanted, columns), 1):
            for cell in cells:
                if not isinstance(cell, str):
                    raise UserError(Problem(f"{path}, row {number}", f"must be text, got {cell!r}"))
                if not is_whole(cell):
                    raise UserError(Problem(f"{path}, row {number}", HALF))
            yield tuple(cells)
    except UnicodeDecodeError:
        raise UserError(Problem(str(path), "not UTF-8 text")) from None
    except OSError as error:
        raise UserError(Problem(str(path), f"cannot be read: {error}")) from None


def _names(path: Path, wanted: Sequence[str], there: Sequence[str], columns: int) -> list[str]:
    """Return the columns to read."""
    if not wanted:
        if columns == 1 and (DEFAULT_COLUMN in there or len(there) == 1):
            return [DEFAULT_COLUMN if DEFAULT_COLUMN in there else there[0]]
        listed = ", ".join(there)
        what = f"name the text column{'s' if columns > 1 else ''} of {path.name} with --text; it has {listed}"
        raise UserError(Problem("--text", what))
    if missing := [name for name in wanted if name not in there]:
        raise UserError(
            *(Problem(str(path), f"no column '{name}'. {did_you_mean(name, there)}") for name in dict.fromkeys(missing))
        )
    return list(wanted)


def _csv(path: Path, wanted: Sequence[str], columns: int) -> Iterator[Sequence[Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        try:
            head = next((row for row in rows if "".join(row).strip()), None)
            if head is None:
                raise UserError(Problem(str(path), "is empty: a table begins with the names of its columns"))
            places = [head.index(name) for name in _names(path, wanted, head, columns)]
            for row in rows:
                if len(row) == len(head):
                    yield [row[place] for place in places]
                elif len(row) > 1 or "".join(row).strip():  # else a blank line
                    what = f"has {len(row)} cells, the first line names {len(head)} columns"
                    raise UserError(Problem(f"{path}, line {rows.line_num}", what))
        except csv.Error as error:
            raise UserError(Problem(f"{path}, line {rows.line_num}", str(error))) from None


def _json_lines(path: Path, wanted: Sequence[str], columns: int) -> Iterator[Sequence[Any]]:
    names: list[str] | None = None
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(Problem(where, f"no JSON: {error}")) from None
            except RecursionError:
                raise UserError(Problem(where, "is nested too deeply")) from None
            if not isinstance(row, dict):
                raise UserError(Problem(where, f"must be a JSON object, got {line[:40]!r}"))
            names = names or _names(path, wanted, list(row), columns)
            yield [row.get(name) for name in names]


def _parquet(path: Path, wanted: Sequence[str], columns: int) -> Iterator[Sequence[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        there = table.schema_arrow.names
        names = _names(path, wanted, there, columns)
        if twice := next((name for name in names if there.count(name) > 1), None):
            raise UserError(Problem(str(path), f"several columns are called '{twice}'; rename those it is not"))
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=list(dict.fromkeys(names))):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    except pyarrow.ArrowException as error:
        raise UserError(Problem(str(path), f"cannot be read as Parquet: {error}")) from None

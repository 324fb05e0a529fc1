"""The user's own files: CSV, TSV, JSON lines and Parquet."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.tasks.tables import Columns, Columnwise, Labelled, Table, assemble, examples_of, texts_of
from limbeck.tasks.task import UNLABELLED_ROWS, Source, Task

Cells = Mapping[str, list[object]]


def load_files(paths: Mapping[str, Path], columns: Columns, metric: str | None) -> Task:
    """Return the task of the given files by split, and of unlabelled texts. All that is wrong raises one UserError."""
    tables: dict[str, Table] = {}
    texts: Columnwise = ()
    problems: list[Problem] = []
    for split, path in paths.items():
        try:
            tables[split] = read_table(path)
        except UserError as error:
            problems += error.problems
    classes: tuple[str, ...] = ()
    try:
        if (unlabelled := tables.pop(UNLABELLED_ROWS, None)) is not None:
            texts = texts_of(unlabelled, columns)
    except UserError as error:
        problems += error.problems
    try:
        classes, splits = examples_of(tables, columns, metric)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(*problems)
    sources = tuple(Source(path.name, "the user's own", str(path)) for path in dict.fromkeys(paths.values()))
    return assemble(Labelled(paths["train"].stem, classes, metric, splits, sources, texts))


def read_table(path: Path) -> Table:
    """Read one file, every CSV cell as text. A file that cannot be read raises UserError."""
    read = READERS.get(path.suffix.lower())
    if read is None:
        known = did_you_mean(path.suffix, READERS)
        raise UserError(Problem(str(path), f"cannot tell the format by the extension '{path.suffix}'. {known}"))
    if not path.is_file():
        raise UserError(Problem(str(path), "no such file"))
    try:
        cells = read(path)
    except UnicodeDecodeError as error:
        raise UserError(Problem(str(path), f"is not UTF-8 (byte {error.start}); save it as UTF-8")) from None
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(Problem(str(path), f"cannot be read: {error}")) from None
    return Table(str(path), cells, len(next(iter(cells.values()), [])))


def _csv(path: Path) -> Cells:
    return _separated(path, ",")


def _tsv(path: Path) -> Cells:
    return _separated(path, "\t")


def _separated(path: Path, separator: str) -> Cells:
    """Cells as text; only an empty cell is missing, since "None", "null" and "NA" are words."""
    with warnings.catch_warnings():
        # Rows longer than the header are cut with a mere warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
            index_col=False,
        )
    return {str(name): frame[name].tolist() for name in frame.columns}


def _json_lines(path: Path) -> Cells:
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON ({error.msg})") from None
            except RecursionError:
                raise ValueError(f"line {number} is nested too deeply") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object with named fields")
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path) -> Cells:
    from pyarrow import parquet

    cells: dict[str, list[object]] = parquet.read_table(path).to_pydict()
    return cells


READERS: Mapping[str, Callable[[Path], Cells]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}

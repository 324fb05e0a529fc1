"""From tables, wherever they were read, to a checked Task."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.tasks.labels import REGRESSION_METRIC, LabelColumn, interpret, missing, rows_named
from limbeck.tasks.splitting import RowKey, carve, row_keys, text_keys
from limbeck.tasks.task import UNLABELLED_ROWS, Examples, Labels, Source, Task, fingerprint
from limbeck.texts import is_whole

log = logging.getLogger(__name__)
Columnwise = tuple[list[str], ...]
"""One or two text columns, N texts each."""


@dataclass(frozen=True)
class Table:
    """One split as it was read: cells by column name."""

    where: str
    """A file, or a data set and its split: what problems are reported under."""
    columns: Mapping[str, list[object]]
    """Every column's name, but the cells of the wanted ones only where others would be costly to read."""
    rows: int

    def __len__(self) -> int:
        return self.rows


@dataclass(frozen=True)
class Columns:
    """Which columns hold what."""

    text: tuple[str, ...]
    label: str


def examples_of(
    tables: Mapping[str, Table], columns: Columns, metric: str | None, classes: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], dict[str, Examples]]:
    """Return (classes, examples by split), or raise UserError with everything that is wrong with any table.

    `classes` fixes the label order (() means regression); None takes it from the labels of `train`. Without a table for
    `train` the others are checked only.
    """
    problems = [problem for table in tables.values() for problem in _faults(table, columns.text, columns.label)]
    readable = {s: t for s, t in tables.items() if columns.label in t.columns and not _gaps(t, columns.label)}
    labels: dict[str, Labels] = {}
    if "train" in readable and len(readable["train"]):
        values = {split: LabelColumn(table.where, table.columns[columns.label]) for split, table in readable.items()}
        classes, labels, wrong = interpret(values, metric, classes)
        problems += wrong
        if metric == "accuracy_f1" and len(classes) != 2 and not wrong:
            problems.append(Problem("task.metric", f"accuracy_f1 is for two classes; there are {len(classes)}"))
    if problems:
        raise UserError(*problems)
    if "train" not in tables:
        return (), {}
    return classes or (), {split: Examples(_texts(table, columns), labels[split]) for split, table in tables.items()}


def texts_of(table: Table, columns: Columns) -> Columnwise:
    """Return the texts of rows that need no label, or raise UserError with everything that is wrong with them."""
    if problems := _faults(table, columns.text):
        raise UserError(*problems)
    return _texts(table, columns)


def _texts(table: Table, columns: Columns) -> Columnwise:
    return tuple([str(cell) for cell in table.columns[name]] for name in columns.text)


def _faults(table: Table, texts: tuple[str, ...], label: str | None = None) -> list[Problem]:
    """Everything wrong with the table but the meaning of its labels."""
    if len(table) == 0:
        return [Problem(table.where, "has no rows")]
    problems = []
    for name in dict.fromkeys((*texts, *([] if label is None else [label]))):
        if name not in table.columns:
            problems.append(Problem(table.where, f"no column '{name}'. {did_you_mean(name, table.columns)}"))
        elif gaps := _gaps(table, name):
            kind = "label" if name == label else "text"
            problems.append(Problem(table.where, f"no {kind} in column '{name}' of {rows_named(gaps)}"))
        elif name != label and (odd := _not_text(table, name)):
            cell = table.columns[name][odd[0]]
            problems.append(Problem(table.where, f"column '{name}' is not text: {cell!r} in {rows_named(odd)}"))
        elif torn := [row for row, cell in enumerate(table.columns[name]) if not is_whole(str(cell))]:
            what = f"half a character (a lone surrogate, such as \\ud83d) in column '{name}' of {rows_named(torn)}"
            problems.append(Problem(table.where, f"{what}; text was cut inside an emoji or the like"))
    return problems


def _gaps(table: Table, name: str) -> list[int]:
    return [row for row, cell in enumerate(table.columns[name]) if missing(cell)]


def _not_text(table: Table, name: str) -> list[int]:
    return [row for row, cell in enumerate(table.columns[name]) if not isinstance(cell, str)]


@dataclass(frozen=True)
class Labelled:
    """A task's parts before its missing splits are carved: `train`, and what else there is."""

    name: str
    classes: tuple[str, ...]
    metric: str | None
    splits: Mapping[str, Examples]
    sources: tuple[Source, ...]
    unlabelled: Columnwise = ()


def assemble(parts: Labelled) -> Task:
    """Return the task: test and selection carved from train where missing, the metric chosen, everything hashed."""
    splits = dict(parts.splits)
    train = splits.pop("train")
    test = splits.pop("test", None)
    if test is None:
        train, test = carve(train)
    selection = splits.pop("selection", None)
    if selection is None:
        train, selection = carve(train)
    every = {**splits, "train": train, "selection": selection, "test": test}
    warn_of_leaks(parts.name, every, {"train": row_keys(train), UNLABELLED_ROWS: text_keys(parts.unlabelled)})
    return Task(
        name=parts.name,
        classes=parts.classes,
        metric=parts.metric or ("accuracy" if parts.classes else REGRESSION_METRIC),
        train=train,
        selection=selection,
        test=test,
        others=splits,
        unlabelled=parts.unlabelled,
        sources=parts.sources,
        fingerprint=fingerprint(parts.classes, every, parts.unlabelled),
    )


def warn_of_leaks(name: str, splits: Mapping[str, Examples], learnt: Mapping[str, Iterable[RowKey]]) -> None:
    """Say which held-out rows of task `name` are among the keys of rows `learnt` from, by where those stand.

    The rows stay: the data are the user's, and so is the decision.
    """
    known = {where: set(keys) for where, keys in learnt.items()}
    for split, examples in splits.items():
        keys = [] if split == "train" else row_keys(examples)
        for where, trained_on in known.items():
            if shared := sum(key in trained_on for key in keys):
                log.warning("%s: %d of %d %s rows stand in %s too", name, shared, len(keys), split, where)

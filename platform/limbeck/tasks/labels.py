"""From label values as they stand in the data to class numbers, or to numbers for regression."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.errors import Problem
from limbeck.tasks.task import Labels

_LARGEST = float(np.finfo(np.float32).max)
REGRESSION_METRIC = "pearson_spearman"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_SHOWN = 3


@dataclass(frozen=True)
class LabelColumn:
    """The label values of one split."""

    where: str
    values: Sequence[object]


def missing(value: object) -> bool:
    """Whether a cell says nothing: None, NaN, or blank text."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def places_of(ours: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """Return where each of our classes stands among theirs, whatever the case of their names; None: others are there.

    As they are written first: there may be classes that differ only in case.
    """
    for spelt in (str, str.casefold):
        wanted, found = [spelt(name) for name in ours], [spelt(name) for name in theirs]
        if sorted(found) == sorted(wanted) and len(set(wanted)) == len(wanted):
            return [found.index(name) for name in wanted]
    return None


def rows_named(rows: Sequence[int]) -> str:
    """Return row numbers (from 1, the first row of data) in words, the first few of them."""
    shown = ", ".join(str(row + 1) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}{more}"


def interpret(
    columns: Mapping[str, LabelColumn], metric: str | None, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[str, Labels], list[Problem]]:
    """Return (classes, labels by split, problems); classes are () for regression.

    Without `classes` they are those of `train`, sorted: as numbers when all are numbers, else as text. Numbers of
    which some are not whole mean regression, unless the metric is one for classes.
    """
    train = columns["train"].values
    numbers = {split: [_number(value) for value in column.values] for split, column in columns.items()}
    numeric = classes is None and all(number is not None for number in numbers["train"])
    fractions = numeric and any(number is not None and number % 1 for number in numbers["train"])
    if classes == () or metric == REGRESSION_METRIC or (metric is None and fractions):
        return _as_numbers(columns, numbers)
    if odd := [row for row, value in enumerate(train) if not isinstance(value, str | int | float)]:
        what = f"a label must be text or a number; got {train[odd[0]]!r} in {rows_named(odd)}"
        return (), {}, [Problem(columns["train"].where, what)]
    names = {split: [_name(value, numeric) for value in column.values] for split, column in columns.items()}
    if classes is None:
        classes = tuple(sorted(set(names["train"]), key=(lambda name: (float(name), name)) if numeric else None))
    return classes, *_as_classes(columns, names, classes)


def _number(value: object) -> float | None:
    """The value as a finite number; None for anything else, truth values among them."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _name(value: object, numeric: bool) -> str:
    """The class a label names. Where all labels are numbers, 1, 1.0 and "1" are one class, in any file."""
    number = _number(value) if numeric else None
    if number is None:
        return str(value).strip()
    return str(int(number)) if number.is_integer() else repr(number)


def _as_numbers(
    columns: Mapping[str, LabelColumn], numbers: Mapping[str, Sequence[float | None]]
) -> tuple[tuple[str, ...], dict[str, Labels], list[Problem]]:
    problems = []
    labels: dict[str, Labels] = {}
    for split, column in columns.items():
        if odd := [row for row, x in enumerate(numbers[split]) if x is None or abs(x) > _LARGEST]:
            found = f"{column.values[odd[0]]!r} in {rows_named(odd)}"
            what = f"regression needs numbers as labels, none beyond {_LARGEST:.1e}; got {found}"
            problems.append(Problem(column.where, what))
            continue
        labels[split] = np.array(numbers[split], dtype=np.float32)
    if "train" in labels and len(np.unique(labels["train"])) == 1:
        problems.append(Problem(columns["train"].where, "all labels are the same number; there is nothing to learn"))
    return (), labels, problems


def _as_classes(
    columns: Mapping[str, LabelColumn], names: Mapping[str, Sequence[str]], classes: tuple[str, ...]
) -> tuple[dict[str, Labels], list[Problem]]:
    problems = []
    places = {name: place for place, name in enumerate(classes)}
    labels: dict[str, Labels] = {}
    for split, column in columns.items():
        unseen: dict[str, list[int]] = {}
        for row, name in enumerate(names[split]):
            if name not in places:
                unseen.setdefault(name, []).append(row)
        if unseen:
            listed = "; ".join(f"'{name}' in {rows_named(rows)}" for name, rows in list(unseen.items())[:_SHOWN])
            what = f"labels that training does not know: {listed}. It knows: {', '.join(classes[:20])}."
            problems.append(Problem(column.where, what))
            continue
        labels[split] = np.array([places[name] for name in names[split]], dtype=np.int64)
    if len(set(names["train"])) == 1:
        what = f"all labels are '{names['train'][0]}'; a task needs two classes or more"
        problems.append(Problem(columns["train"].where, what))
    return labels, problems

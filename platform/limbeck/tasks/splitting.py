"""Splits: drawing rows by class, carving a selection split out of the training rows, and finding texts in common."""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import UserError
from limbeck.tasks.task import Examples, Labels

CARVED_SHARE = 0.1
CARVED_ROWS_MAX = 1_000
RowKey = tuple[str, ...]
"""What tells one row's texts from another's: equal for texts that differ in spacing and signs only."""
_NOT_LETTER_OR_DIGIT = re.compile(r"[\W_]+")


def text_key(text: str) -> str:
    """Return the letters and digits of the lower-cased text: equal for texts that differ in spacing and signs only."""
    return _NOT_LETTER_OR_DIGIT.sub("", text.lower()) or text.strip()


def row_keys(examples: Examples) -> list[RowKey]:
    """Return one key a row, over all its text columns."""
    return text_keys(examples.columns)


def text_keys(columns: Iterable[Iterable[str]]) -> list[RowKey]:
    """Return one key a row of these text columns."""
    return list(zip(*([text_key(text) for text in column] for column in columns), strict=True))


def without(examples: Examples, keys: Iterable[RowKey]) -> Examples:
    """Return the rows whose key is not among `keys`."""
    taken = set(keys)
    rows = [row for row, key in enumerate(row_keys(examples)) if key not in taken]
    return examples.take(np.array(rows, dtype=np.int64))


def subsample(labels: Labels, n: int, seed: int) -> NDArray[np.int64]:
    """Return n row numbers, ascending, with each class's share kept and at least one row a class.

    Float labels (regression) are drawn without regard to their value. The same labels, n and seed give the same rows.
    """
    groups = np.unique(labels, return_inverse=True)[1] if labels.dtype.kind == "i" else np.zeros(len(labels), np.int64)
    counts = np.bincount(groups, minlength=1)
    if n > len(labels):
        raise UserError(f"{n} rows asked for, but there are only {len(labels)}.")
    if n < max(1, len(counts)):
        raise UserError(f"{n} rows asked for, but at least one of each of the {len(counts)} classes is needed.")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(groups == group))[:take] for group, take in enumerate(_allocate(counts, n))]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _allocate(counts: NDArray[np.int64], n: int) -> list[int]:
    """Return how many of n rows each class gives: its share, by largest remainder; one at least, all at most."""
    quotas = n * counts / counts.sum()
    takes = np.maximum(1, np.floor(quotas)).astype(np.int64)
    while takes.sum() > n:
        takes[np.argmax(np.where(takes > 1, takes - quotas, -np.inf))] -= 1
    while takes.sum() < n:
        takes[np.argmax(np.where(takes < counts, quotas - takes, -np.inf))] += 1
    return [int(take) for take in takes]


def carve(examples: Examples, seed: int = 0) -> tuple[Examples, Examples]:
    """Return (rest, carved): carved is a stratified tenth of the rows, 1,000 at most.

    Every class keeps a row in the rest. A text that stands in several rows stays in the rest, so that nothing carved
    was trained on.
    """
    seen = Counter(keys := row_keys(examples))
    free = np.array([seen[key] == 1 for key in keys])
    if examples.labels.dtype.kind == "i":
        free[np.unique(examples.labels, return_index=True)[1]] = False
    rows = np.flatnonzero(free)
    if len(rows) == 0:
        raise UserError(
            f"{len(examples)} training rows are too few to hold some back for selection or test. "
            "Give more rows, or files for these splits."
        )
    labels = examples.labels[rows]
    classes = len(np.unique(labels)) if labels.dtype.kind == "i" else 1
    n = min(CARVED_ROWS_MAX, max(classes, round(CARVED_SHARE * len(examples))), len(rows))
    carved = rows[subsample(labels, n, seed)]
    rest = np.setdiff1d(np.arange(len(examples)), carved)
    return examples.take(rest), examples.take(carved)

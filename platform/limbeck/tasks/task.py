"""Task, Examples and Source: what is classified, as plain values."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -100
"""In the place of a class where there is none; a number that is missing is NaN."""
UNLABELLED_ROWS = "unlabelled"
"""What the rows without labels are called where splits are named."""
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """Where data comes from, and under which terms."""

    name: str
    licence: str
    origin: str
    """A package with its version, a hub id, or a file."""


@dataclass(frozen=True)
class Examples:
    """N rows of one split."""

    columns: tuple[list[str], ...]
    """One or two text columns, N texts each."""
    labels: Labels
    """(N,) int64 class index, or float32 value for regression."""
    merge: tuple[int, ...] | None = None
    """Class of the task -> class `labels` count in, where a foreign test set tells fewer classes apart."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """Return the given rows, in the given order."""
        columns = tuple([column[row] for row in rows.tolist()] for column in self.columns)
        return Examples(columns, self.labels[rows], self.merge)

    def scored(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, C) logits over the (N, C') classes `labels` count in: the largest of each merged group."""
        if self.merge is None:
            return logits
        groups = np.asarray(self.merge)
        return np.stack([logits[:, groups == group].max(axis=1) for group in range(groups.max() + 1)], axis=1)


def together(splits: Sequence[Examples]) -> Examples:
    """Return the rows of several splits of one task, one after the other."""
    columns = zip(*(split.columns for split in splits), strict=True)
    joined = tuple([text for column in same for text in column] for same in columns)
    return Examples(joined, np.concatenate([split.labels for split in splits]))


@dataclass(frozen=True)
class Task:
    """What is classified: labelled splits, classes, the metric that counts, and where it all comes from."""

    name: str
    classes: tuple[str, ...]
    """Class names in label order; () for regression."""
    metric: str
    """A key of `metrics.METRICS`."""
    train: Examples
    selection: Examples
    """What search, early stopping and the choice of a checkpoint may see."""
    test: Examples
    """Read once, when a trial ends."""
    others: Mapping[str, Examples] = field(default_factory=dict)
    """Further test sets (out of domain, or a second one of the task's own), never trained on."""
    unlabelled: tuple[Sequence[str], ...] = ()
    """Text of the task's kind without labels, one or two columns of it: for generators, and for the teacher to label.
    () where there is none."""
    sources: tuple[Source, ...] = ()
    fingerprint: str = ""
    """Hash of classes, texts and labels of every split and of the unlabelled text."""

    @property
    def regression(self) -> bool:
        return not self.classes

    @property
    def unlabelled_rows(self) -> int:
        return len(self.unlabelled[0]) if self.unlabelled else 0

    @property
    def splits(self) -> dict[str, Examples]:
        """Every labelled split by name: train, selection, test, then the others."""
        return {"train": self.train, "selection": self.selection, "test": self.test, **self.others}


def reading(task: Task, wanted: int) -> list[str]:
    """About `wanted` texts to fit a masked LM on: the task's own and unlabelled ones in equal parts.

    Left to their numbers, the unlabelled texts would drown the task's own, which are what the generator will rewrite.
    """
    own = [text for column in task.train.columns for text in column]
    others = [text for column in task.unlabelled for text in column]
    if not others:
        return own
    half = max(1, min(wanted // 2, len(others)))
    return own * max(1, round(half / len(own))) + [others[i] for i in spread(len(others), half)]


def spread(total: int, wanted: int) -> NDArray[np.int64]:
    """Return `wanted` of the numbers below `total`, ascending and evenly apart."""
    return np.linspace(0, total - 1, wanted).astype(np.int64)


def fingerprint(
    classes: Sequence[str], splits: Mapping[str, Examples], unlabelled: Sequence[Sequence[str]] = ()
) -> str:
    """Return 20 hexadecimal digits of the SHA-256 of the content. Names of splits count, their order does not."""
    digest = hashlib.sha256()

    def add(texts: Sequence[str]) -> None:
        # Lengths first: joined texts alone could be cut in two ways.
        digest.update(np.array([len(text) for text in texts], dtype="<i8").tobytes())
        digest.update("".join(texts).encode("utf-8", "surrogatepass"))

    add(list(classes))
    for name in sorted(splits):
        split = splits[name]
        add([name, str(split.merge), str(split.labels.dtype)])
        for column in split.columns:
            add(column)
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    for texts in unlabelled or ((),):
        add(texts)
    return digest.hexdigest()[:20]

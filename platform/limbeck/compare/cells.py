"""A cell of a comparison: one configuration, its seeds, and the score of every seed on every test example."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.compare.crossed import Array
from limbeck.errors import Problem, UserError, did_you_mean

Runs = Mapping[int, "Array | Sequence[Array]"]


@dataclass(frozen=True)
class Cell:
    """Scores whose mean is the metric, paired with other cells by seed and by example.

    `scores` holds one (S, N_t) array a task, its rows in the order of `seeds`: 0/1 for accuracy, any number otherwise
    (`limbeck.metrics.example_scores`); (S, 1) where only the metric of a run is known. `missing` are the planned seeds
    without a result.
    """

    name: str
    seeds: tuple[int, ...]
    scores: tuple[Array, ...]
    missing: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for scores in self.scores:
            if scores.ndim != 2 or len(scores) != len(self.seeds) or scores.shape[1] == 0:
                raise ValueError(f"cell {self.name!r}: {len(self.seeds)} seeds, but scores of shape {scores.shape}")
            if scores.dtype.kind == "f" and not np.isfinite(scores).all():
                raise ValueError(f"cell {self.name!r}: some scores are not finite")
        if self.seeds and not self.scores:
            raise ValueError(f"cell {self.name!r}: seeds without scores")
        if len(set(self.seeds)) < len(self.seeds) or set(self.seeds) & set(self.missing):
            raise ValueError(f"cell {self.name!r}: a seed occurs twice among {self.seeds} and missing {self.missing}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of test examples of each task."""
        return tuple(scores.shape[1] for scores in self.scores)

    def at(self, seeds: Sequence[int]) -> tuple[Array, ...]:
        """Return the scores of these seeds, in this order: for each task (len(seeds), N_t)."""
        if tuple(seeds) == self.seeds:
            return self.scores
        rows = [self.seeds.index(seed) for seed in seeds]
        return tuple(scores[rows] for scores in self.scores)

    def values(self) -> Array:
        """Return each seed's metric, (S,): the mean over tasks of the mean over examples."""
        return np.asarray(
            np.mean([scores.mean(axis=1, dtype=np.float64) for scores in self.scores], axis=0), np.float64
        )


def make_cell(name: str, runs: Runs, planned: Sequence[int]) -> Cell:
    """Make a cell of each seed's (N,) scores, or one such array a task; `planned` seeds without a run are missing.

    Raises UserError where the runs of the cell were scored on different numbers of examples.
    """
    seeds = sorted(runs)
    missing = tuple(sorted(set(planned) - set(seeds)))
    if not seeds:
        return Cell(name, (), (), missing)
    rows = [_tasks(runs[seed]) for seed in seeds]
    shapes = {tuple(len(task) for task in row) for row in rows}
    if len(shapes) > 1:
        raise UserError(Problem(name, f"its seeds were scored on different numbers of test examples: {sorted(shapes)}"))
    scores = tuple(np.stack([row[t] for row in rows]) for t in range(len(rows[0])))
    return Cell(name, tuple(seeds), scores, missing)


def retention_scores(scores: Array, teacher: Array) -> Array | None:
    """Turn a student's (S, N) scores into scores whose mean is its retention, given the teacher's (N,) on these rows.

    (x_si − R_s·t_i)/t̄ + R_s with R_s = x̄_s/t̄: the ratio's influence, so that intervals count the teacher's sampling
    noise too. None where the teacher's metric is not above zero.
    Source: Cochran, Sampling Techniques (1977), section 6.3.
    """
    level = float(np.mean(teacher, dtype=np.float64))
    if not level > 0:
        return None
    ratio = scores.mean(axis=1, dtype=np.float64, keepdims=True) / level
    return np.asarray((scores - ratio * teacher.astype(np.float64)) / level + ratio, np.float64)


def check_cells(cells: Sequence[Cell], reference: str | None = None) -> None:
    """Raise UserError, naming every cell, unless names are unique, examples the same, and the reference is there."""
    names = Counter(cell.name for cell in cells)
    problems = [Problem(name, f"{times} cells bear this name") for name, times in names.items() if times > 1]
    if reference is not None and reference not in names:
        problems.append(Problem("reference", f"no such cell: {reference!r}. {did_you_mean(reference, names)}"))
    filled = [cell for cell in cells if cell.seeds]
    usual = Counter(cell.sizes for cell in filled).most_common(1)
    problems += [
        Problem(cell.name, f"scored on {cell.sizes} test examples, other cells on {usual[0][0]}: they cannot be paired")
        for cell in filled
        if cell.sizes != usual[0][0]
    ]
    if problems:
        raise UserError(*problems)


def shared_seeds(cells: Sequence[Cell]) -> tuple[int, ...]:
    """Return the seeds that every cell has, in the order of the first."""
    return tuple(seed for seed in cells[0].seeds if all(seed in cell.seeds for cell in cells[1:]))


def _tasks(run: "Array | Sequence[Array]") -> list[Array]:
    return [np.asarray(run)] if isinstance(run, np.ndarray) else [np.asarray(task) for task in run]

"""Trials of any sweeps as cells that can be paired, and the table of what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import cells
from limbeck.analysis import words as phrases
from limbeck.compare import AblationRow, Cell, McNemar, mcnemar
from limbeck.errors import Problem, UserError
from limbeck.report import Column, Table
from limbeck.store import SweepRow, TrialRow


@dataclass(frozen=True)
class Contender:
    """A trial, or all seeds of its configuration."""

    cell: Cell
    """Retention, by example or one number a run."""
    by_example: bool
    labels: np.ndarray | None
    """(N,) gold of the test examples: those of contenders that pair are the same."""
    answers: np.ndarray | None
    """(S, N) right and wrong, where that is the metric."""


def contender(sweep: SweepRow, trial: TrialRow, split: str, whole: bool) -> Contender | None:
    """Return a complete trial, or with `whole` every complete seed of its configuration; None without a result.

    Trials alone are paired by their test examples, whatever their seeds: each is given the seed 0.
    """
    found = cells.scored(sweep, (trial.cell,), split)
    cell, evidence = found.cells[0], found.evidence
    if whole:
        seeds: tuple[int, ...] = cell.seeds
        named = Cell(f"{sweep.name}: {trial.cell}", seeds, cell.scores, cell.missing)
    elif trial.seed in cell.seeds:
        seeds = (trial.seed,)
        named = Cell(f"{sweep.name}/{trial.trial}", (0,), cell.at(seeds))
    else:
        return None
    if not seeds:
        return None
    is_right = found.by_example and evidence.metric == "accuracy"
    answers = np.stack([evidence.students[trial.cell, seed] for seed in seeds]) if is_right else None
    return Contender(named, found.by_example, evidence.labels, answers)


def paired(contenders: Sequence[Contender]) -> tuple[list[Cell], bool]:
    """Return cells that can be compared, and whether by example. UserError: tested on different rows."""
    if not all(one.by_example for one in contenders):
        return [_by_run(one.cell) for one in contenders], False
    first = contenders[0].labels
    for one in contenders[1:]:
        if first is None or one.labels is None or not np.array_equal(first, one.labels):
            what = f"tested on other rows than {contenders[0].cell.name}: they do not pair"
            raise UserError(Problem(one.cell.name, what))
    return [one.cell for one in contenders], True


def _by_run(cell: Cell) -> Cell:
    return Cell(cell.name, cell.seeds, (cell.values()[:, None],), cell.missing) if cell.seeds else cell


def mcnemar_tests(contenders: Sequence[Contender], reference: str) -> dict[str, McNemar]:
    """Return each single student's test against the reference, where answers are right or wrong."""
    by_name = {one.cell.name: one.answers for one in contenders}
    base = by_name[reference]
    if base is None or len(base) != 1:
        return {}
    return {
        name: mcnemar(mine, base)[0]
        for name, mine in by_name.items()
        if name != reference and mine is not None and mine.shape == base.shape
    }


def differences_table(rows: Sequence[AblationRow], reference: str, split: str, by_example: bool) -> Table:
    """Return the comparison as a table: differences in points with the marks of their adjusted p."""
    columns = (
        Column("cell", "configuration"),
        Column("seeds", kind="number"),
        Column("retention", kind="percent", best="max"),
        Column("interval", "95 % interval"),
        Column("pairs", "seeds paired", "number"),
        Column("difference", "difference (points)"),
        Column("difference_interval", "95 % interval"),
        Column("p_adjusted", "adjusted p"),
    )
    values = tuple(
        (
            *(row.cell, row.n_seeds, row.mean, phrases.percent_interval(row.low, row.high)),
            *(row.n_pairs or None, phrases.marked(row.difference, row.p_adjusted)),
            *(phrases.points_interval(row.difference_low, row.difference_high), phrases.p_value(row.p_adjusted)),
        )
        for row in rows
    )
    pairs = "seed and test example" if by_example else "seed"
    caption = f"Retention on {split} against '{reference}', paired by {pairs}; Holm's correction"
    alone = "One seed in common gives an interval over test examples and no p: what seeds do is not known from it."
    notes = (phrases.MARKS_TOLD, *([alone] if any(row.n_pairs == 1 for row in rows) else []))
    return Table(columns, values, caption, notes)


def budgets(trials: Mapping[str, TrialRow]) -> str:
    """Say so where trials were not given the same: then what differs is not their settings alone."""
    planned = {trial.updates_total for trial in trials.values() if trial.updates_total}
    halted = [name for name, trial in trials.items() if trial.state != "complete"]
    told = []
    if len(planned) > 1:
        told.append(f"They were given different budgets: {', '.join(f'{n:,}' for n in sorted(planned))} updates.")
    if halted:
        told.append(f"{len(halted)} of them {'is' if len(halted) == 1 else 'are'} not complete and not tested.")
    return " ".join(told)

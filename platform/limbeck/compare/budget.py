"""Whether cells may be compared at all: the same budget, spent to its end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.errors import Problem, UserError


@dataclass(frozen=True)
class Budget:
    """What one run of a cell was given and what it spent, in student updates or in seconds."""

    cell: str
    seed: int
    planned: float
    spent: float


def equal_budget(runs: Sequence[Budget], unit: str = "updates", tolerance: float = 0.0) -> float:
    """Return the budget that all runs share, or raise UserError naming every cell of another fidelity.

    A run that was stopped early saw less than it was planned to, and a cell planned for more is another experiment.
    `tolerance` is relative: 0 for updates, about 0.1 for seconds, which a run misses by up to half an update.
    """
    if not runs:
        raise ValueError("no runs to compare")
    shared = Counter(run.planned for run in runs).most_common(1)[0][0]
    problems: dict[str, list[str]] = {}
    for run in runs:
        if abs(run.planned - shared) > tolerance * shared:
            problem = f"seed {run.seed} was planned for {run.planned:g} {unit}, others for {shared:g}"
        elif abs(run.spent - run.planned) > tolerance * run.planned:
            problem = f"seed {run.seed} took {run.spent:g} of {run.planned:g} {unit}"
        else:
            continue
        problems.setdefault(run.cell, []).append(problem)
    if problems:
        told = [Problem(cell, "; ".join(lines)) for cell, lines in problems.items()]
        raise UserError(*told, "Cells of mixed fidelity are not compared: run all of them to the same end.")
    return shared

"""What a sweep was asked to compare, read from the plan that is stored with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.compare import Design, factorial_design
from limbeck.errors import UserError
from limbeck.store import SweepRow
from limbeck.yaml_strict import mapping

REFERENCE = "reference"
"""The cell that an ablation's others are measured against."""


@dataclass(frozen=True)
class Asked:
    """The parts of a plan that say how its results are to be read."""

    design: str | None = None
    """leave-one-out, add-one-in or factorial; None where the plan is no ablation."""
    factors: tuple[str, ...] = ()
    resolution: int | None = None
    seeds: tuple[int, ...] = ()
    several_tasks: bool = False

    def factorial(self) -> Design | None:
        """Return the factorial design that was run, None where there was none."""
        return factorial_design(self.factors, self.resolution) if self.design == "factorial" else None


def read_asked(sweep: SweepRow) -> Asked:
    """Read the plan of a sweep; of a text that is no plan nothing is known."""
    try:
        plan = mapping(sweep.plan, sweep.name)
    except UserError:
        return Asked()
    ablate = _section(plan, "ablate")
    seeds = plan.get("seeds")
    tasks = plan.get("tasks")
    return Asked(
        design=ablate.get("design"),
        factors=tuple(_section(ablate, "factors")),
        resolution=ablate.get("resolution"),
        seeds=tuple(seeds) if isinstance(seeds, list) else (),
        several_tasks=isinstance(tasks, list) and bool(tasks),
    )


def factorial_cells(design: Design) -> list[str]:
    """Return the name of the cell of every run of a factorial design, in its order."""
    runs = ([f for f, level in zip(design.factors, row, strict=True) if level > 0] for row in design.levels)
    return ["+".join(applied) or REFERENCE for applied in runs]


def _section(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = plan.get(name)
    return value if isinstance(value, dict) else {}

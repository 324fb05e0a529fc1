"""The best of a sweep on fresh seeds: which configurations, the plan that re-runs them, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np

from limbeck.analysis import words
from limbeck.analysis.asked import read_asked
from limbeck.analysis.retention import retention
from limbeck.compare import Interval
from limbeck.errors import Problem, UserError
from limbeck.report import Column, LeaderboardRow, Table, ranked
from limbeck.store import Reader, SweepRow, TrialRow
from limbeck.yaml_strict import mapping

SUFFIX = "-confirm"
_KEPT_SECTIONS = ("cluster", "limits")


@dataclass(frozen=True)
class Candidate:
    """A configuration that did well."""

    cell: str
    objective: Mapping[str, float]
    """Means over its seeds."""
    spec: Mapping[str, Any]
    """The whole trial but its seed."""


@dataclass(frozen=True)
class Confirmation:
    """A configuration's test retention over seeds that had no part in choosing it."""

    sweep: str
    retention: Interval
    missing_seeds: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        """For scripts: the sweep, mean and interval of retention, how many seeds ran and which did not."""
        kept = self.retention
        return {
            "sweep": self.sweep,
            "retention": kept.mean,
            "low": kept.low,
            "high": kept.high,
            "seeds": kept.seeds,
            "missing_seeds": list(self.missing_seeds),
        }


def best_cells(reader: Reader, name: str, top: int) -> list[Candidate]:
    """Return the `top` configurations by mean objective over seeds, best first; of two objectives the front leads.

    Only configurations all of whose seeds ran to their end count. UserError: there are none, or several tasks.
    """
    sweep = reader.sweep(name)
    if read_asked(sweep).several_tasks:
        raise UserError(Problem(f"sweep {name}", "it has several tasks, whose results do not rank; confirm one task's"))
    cells = _whole_cells(reader.trials(name))
    means = [replace(rows[0], objective=_means(rows, list(sweep.objectives))) for rows in cells.values()]
    found = [row for row in ranked(means, sweep.objectives) if _finite(row.objective, sweep)]
    if not found:
        raise UserError(Problem(f"sweep {name}", "no configuration ran to its end with every seed: nothing to confirm"))
    return [Candidate(row.cell, row.objective, without_seed(cells[row.cell][0].spec)) for row in found[:top]]


def fresh_seeds(rows: Sequence[TrialRow], wanted: int) -> tuple[int, ...]:
    """Return the first `wanted` seeds that none of the trials had."""
    used = {row.seed for row in rows}
    return tuple(islice((seed for seed in count() if seed not in used), wanted))


def confirm_plan(sweep: SweepRow, best: Sequence[Candidate], seeds: Sequence[int], name: str) -> dict[str, Any]:
    """Return a plan that runs the candidates with these seeds: the first as reference, the others as changes to it."""
    first, *others = best
    plan: dict[str, Any] = {"name": name, "base": dict(first.spec), "objective": dict(sweep.objectives)}
    if others:
        factors = {f"rank {place}": changes(first.spec, one.spec) for place, one in enumerate(others, 2)}
        plan["ablate"] = {"design": "leave-one-out", "factors": factors}
    kept = mapping(sweep.plan, sweep.name)
    plan |= {section: kept[section] for section in _KEPT_SECTIONS if section in kept}
    return {**plan, "seeds": list(seeds)}


def changes(base: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {dotted path: value} that turns one trial into another; tables of other fields are replaced whole."""
    out: dict[str, Any] = {}
    for key, value in wanted.items():
        there, path = base.get(key), f"{prefix}{key}"
        if _alike(there, value):
            out |= changes(there or {}, value, f"{path}.")
        elif there != value or isinstance(there, bool) != isinstance(value, bool):
            out[path] = value
    return out


def _alike(one: Any, other: Any) -> bool:
    """Say whether two tables have the same fields, and the same name where they have one."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    return one.keys() == other.keys() and one.get("name") == other.get("name")


def confirmations(reader: Reader, name: str, rng: np.random.Generator) -> dict[str, Confirmation]:
    """Return, by cell of the sweep, what its confirming sweeps (`<name>-confirm…`) found; the newest counts.

    A confirming cell belongs to the cell whose settings it has. A sweep that shares a seed confirms nothing.
    """
    names = [sweep.name for sweep in reader.sweeps() if sweep.name.startswith(f"{name}{SUFFIX}")]
    if not names:
        return {}
    trials = reader.trials(name)
    used = {row.seed for row in trials}
    cells = {_key(row.spec): row.cell for row in trials if row.spec}
    found: dict[str, Confirmation] = {}
    for other in names:
        rows = [row for row in reader.trials(other) if row.state == "complete"]
        theirs = {row.cell: cells.get(_key(row.spec)) for row in rows}
        if not rows or any(row.seed in used for row in rows):
            continue
        for kept in retention(reader, other, rng, "test").rows:
            cell = theirs.get(kept.cell)
            if cell is not None and "retention" in kept.found:
                found.setdefault(cell, Confirmation(other, kept.found["retention"], kept.missing_seeds))
    return found


def with_confirmations(table: Table, rows: Sequence[LeaderboardRow], found: Mapping[str, Confirmation]) -> Table:
    """Return a leaderboard with the confirmed retention of each configuration; the others are marked unconfirmed."""
    columns = (
        *table.columns,
        Column("confirmed", "confirmed retention", "percent", best="max"),
        Column("confirmed_over", "on fresh seeds"),
    )
    values = tuple((*row, *_confirmed(found.get(of.cell))) for row, of in zip(table.rows, rows, strict=True))
    told = "Confirmed: test retention over fresh seeds, with its 95 % interval. The best of many runs flatters."
    notes = (note for note in table.notes if not note.startswith("Unconfirmed: "))
    return replace(table, columns=columns, rows=values, notes=(*notes, told))


def _confirmed(found: Confirmation | None) -> tuple[float | None, str]:
    if found is None:
        return None, "unconfirmed"
    seeds = words.many(found.retention.seeds, "seed")
    interval = words.percent_interval(found.retention.low, found.retention.high)
    missing = f", {len(found.missing_seeds)} missing" if found.missing_seeds else ""
    return found.retention.mean, f"{interval} ({seeds}{missing})" if interval else f"{seeds}{missing}"


def without_seed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's settings but its seed."""
    return {key: value for key, value in spec.items() if key != "seed"}


def _key(spec: Mapping[str, Any]) -> str:
    return json.dumps(without_seed(spec), sort_keys=True)


def _whole_cells(trials: Sequence[TrialRow]) -> dict[str, list[TrialRow]]:
    cells: dict[str, list[TrialRow]] = {}
    for row in trials:
        cells.setdefault(row.cell, []).append(row)
    return {cell: rows for cell, rows in cells.items() if all(row.state == "complete" for row in rows)}


def _means(rows: Sequence[TrialRow], names: Sequence[str]) -> dict[str, float]:
    return {name: float(np.mean([row.objective.get(name, np.nan) for row in rows])) for name in names}


def _finite(objective: Mapping[str, float], sweep: SweepRow) -> bool:
    return all(np.isfinite(objective.get(name, np.nan)) for name in sweep.objectives)

"""What results cost: seconds of training, how many came to nothing, and how many until a retention was reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from limbeck.analysis import words
from limbeck.analysis.runs import method_of
from limbeck.compare import cost_to_reach
from limbeck.report import Column, Table
from limbeck.store import Reader, TrialRow

TARGETS = (0.95, 0.97, 0.99)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Spent:
    """What one method cost in one sweep; training time, evaluations left out, summed over trials."""

    sweep: str
    method: str
    trials: int
    complete: int
    stopped: int
    failed: int
    seconds: float
    lost_seconds: float
    """In trials that were stopped early or failed."""
    median_seconds: float | None
    """Of a complete trial."""
    best: float | None
    """Best test retention of a run."""
    reached: tuple[float | None, ...]
    """For each target the trial-seconds until the first run had it, in the order in which runs ended."""


def costs(reader: Reader, names: Sequence[str], targets: Sequence[float] = TARGETS) -> list[Spent]:
    """Return what every method of every sweep cost. UserError: no such sweep."""
    out = []
    for name in names:
        reader.sweep(name)
        by_method: dict[str, list[TrialRow]] = {}
        for row in reader.trials(name):
            by_method.setdefault(method_of(row) or "?", []).append(row)
        out += [_spent(name, method, rows, targets) for method, rows in by_method.items()]
    return out


def _spent(name: str, method: str, rows: Sequence[TrialRow], targets: Sequence[float]) -> Spent:
    ended = sorted(rows, key=lambda row: (row.finished or _NEVER, row.number))
    kept = [(row.seconds, row.retention if row.state == "complete" else None) for row in ended]
    known = [value for _, value in kept if value is not None]
    complete = [row.seconds for row in rows if row.state == "complete"]
    lost = [row.seconds for row in rows if row.state in ("stopped", "failed")]
    return Spent(
        sweep=name,
        method=method,
        trials=len(rows),
        complete=len(complete),
        stopped=sum(row.state == "stopped" for row in rows),
        failed=sum(row.state == "failed" for row in rows),
        seconds=sum(row.seconds for row in rows),
        lost_seconds=sum(lost),
        median_seconds=float(np.median(complete)) if complete else None,
        best=max(known, default=None),
        reached=tuple(cost_to_reach(kept, target) for target in targets),
    )


def costs_table(found: Sequence[Spent], targets: Sequence[float] = TARGETS) -> Table:
    """Return the costs; cheapest way to each target in bold."""
    columns = (
        Column("sweep"),
        Column("method"),
        Column("trials", kind="number"),
        Column("complete", kind="number"),
        Column("stopped", kind="number"),
        Column("failed", kind="number"),
        Column("seconds", "training in all", "duration"),
        Column("lost_seconds", "stopped or failed", "duration"),
        Column("median_seconds", "a run (median)", "duration"),
        Column("best", "best retention", "percent", best="max"),
        *(Column(f"to_{t:g}", f"until {words.percent(t)} %", "duration", best="min") for t in targets),
    )
    rows = tuple(
        (
            *(one.sweep, one.method, one.trials, one.complete, one.stopped, one.failed, one.seconds, one.lost_seconds),
            *(one.median_seconds, one.best, *one.reached),
        )
        for one in found
    )
    caption = (
        "Seconds of training summed over trials, and until the first run that kept so much of its teacher's test "
        "metric, in the order in which runs ended; seconds of runs that came to nothing count. The best retention is "
        "that of the luckiest run."
    )
    return Table(columns, rows, caption)

"""How long a plan will train, going by trials that have ended."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from limbeck.store import Reader, TrialRow

_SWEEPS_LOOKED_AT = 50
_Key = tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """Trials alike but for their seed."""

    count: int
    spec: Mapping[str, Any]
    """Their settings."""
    updates: int | None
    """Student updates of each; None where nobody knows yet how many rows their task has."""


@dataclass(frozen=True)
class Estimate:
    """Training seconds of a plan's trials, one after another."""

    seconds: float
    trials: int
    """Planned trials that the seconds are of."""
    unknown: int
    """Planned trials on tasks where nothing was measured: they are not in the seconds."""
    measured: int
    """Trials it goes by."""


def complete_trials(reader: Reader) -> Iterator[TrialRow]:
    """Yield the complete trials of the latest sweeps."""
    for sweep in reader.sweeps()[:_SWEEPS_LOOKED_AT]:
        yield from reader.trials(sweep.name, ["complete"])


def estimate(complete: Iterable[TrialRow], planned: Sequence[Planned]) -> Estimate | None:
    """Return what `planned` trials will take by `complete` ones most like them; None where nothing is known of any.

    Likest are those of the same task, method, teacher, student and batch, then of the same task and method, then of
    the task: the median of their seconds an update counts, or of their seconds where nobody knows how many updates
    are planned. What a plan gives a trial in seconds it takes.
    """
    past: dict[_Key, dict[str, TrialRow]] = {}
    for row in complete:
        if row.spec and row.seconds > 0 and row.updates > 0:
            for key in _keys(row.spec):
                past.setdefault(key, {})[row.trial] = row
    seconds, known, used = 0.0, 0, set[str]()
    for one in planned:
        like = next((past[key] for key in _keys(one.spec) if key in past), {})
        if (each := _takes(one, like)) is not None:
            seconds, known, used = seconds + one.count * each, known + one.count, used | like.keys()
    return Estimate(seconds, known, sum(one.count for one in planned) - known, len(used)) if known else None


def _takes(planned: Planned, like: Mapping[str, TrialRow]) -> float | None:
    if (budget := planned.spec["training"]["seconds"]) is not None:
        return float(budget)
    if not like:
        return None
    if planned.updates is None:
        return median(past.seconds for past in like.values())
    return planned.updates * median(past.seconds / past.updates for past in like.values())


def _keys(spec: Mapping[str, Any]) -> Iterator[_Key]:
    """Yield what a trial is like others by, the closest likeness first."""
    task, method = _text(spec["task"]), str(spec["method"]["name"])
    yield task, method, _text(spec["teacher"]), _text(spec["student"]), str(spec["training"]["batch_size"])
    yield task, method
    yield (task,)


def _text(section: Any) -> str:
    return json.dumps(section, sort_keys=True)

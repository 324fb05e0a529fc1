"""What goes into the database and what comes out: frozen values, JSON parsed, times in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np

SweepState = Literal["running", "complete", "interrupted", "failed"]
TrialState = Literal["waiting", "running", "complete", "stopped", "failed"]
ENDED: tuple[TrialState, ...] = ("complete", "stopped", "failed")


@dataclass(frozen=True)
class NewSweep:
    """A sweep about to start."""

    name: str
    plan: str
    """The plan as YAML, after overrides."""
    kind: str
    """search | grid | ablation | single."""
    task: str
    objectives: Mapping[str, str]
    """Metric name -> "max" or "min"; the first one orders the leaderboard."""
    trials_planned: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Facts worth keeping beside the results: what came from the cache, cores, versions."""


@dataclass(frozen=True)
class NewTrial:
    """A trial that waits for its turn."""

    trial: str
    number: int
    """Place in the sweep, from 0."""
    cell: str
    """The configuration; all its seeds share it."""
    seed: int
    values: Mapping[str, Any] = field(default_factory=dict)
    """Varied path -> value."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. What is None keeps the value last reported."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """Final metrics; they join those reported on the way."""
    retention: float | None = None
    """Held-out test retention."""
    parameters: int | None = None
    seconds: float | None = None
    updates: int | None = None
    error: str | None = None
    """One sentence for people."""
    traceback: str | None = None
    log: str | None = None
    """Last lines of the trial's output."""


@dataclass(frozen=True)
class SweepRow:
    """A sweep as stored, with how far it got."""

    name: str
    plan: str
    kind: str
    task: str
    objectives: dict[str, str]
    state: SweepState
    trials_planned: int
    created: datetime
    updated: datetime
    """Last sign of life of its driver."""
    notes: dict[str, Any]
    counts: dict[TrialState, int]
    """Trials in each state; states without trials are absent."""
    best: float | None
    """Best first objective among the complete trials."""

    @property
    def trials(self) -> int:
        """Trials there are or will be."""
        return max(self.trials_planned, sum(self.counts.values()))

    @property
    def finished(self) -> int:
        """Trials that ended as they should: complete or stopped early."""
        return self.counts.get("complete", 0) + self.counts.get("stopped", 0)

    @property
    def failed(self) -> int:
        return self.counts.get("failed", 0)


@dataclass(frozen=True)
class TrialRow:
    """A trial as stored. Numbers that were not finite come back as NaN."""

    sweep: str
    trial: str
    number: int
    cell: str
    seed: int
    state: TrialState
    values: dict[str, Any]
    spec: dict[str, Any]
    updates: int
    updates_total: int
    seconds: float
    parameters: int | None
    objective: dict[str, float]
    retention: float | None
    """Held-out test retention; None until the trial ends, and where the teacher is useless."""
    metrics: dict[str, float]
    """Latest value of every metric."""
    error: str | None
    traceback: str | None
    log: str | None
    folder: str | None
    created: datetime
    started: datetime | None
    updated: datetime
    finished: datetime | None


@dataclass(frozen=True)
class ExamplesRow:
    """Inputs the method made up after so many updates."""

    updates: int
    rows: list[dict[str, Any]]


def class_names(task: str) -> str:
    """Return the name of the note of a sweep that tells the classes of the task with that fingerprint."""
    return f"classes {task}"


class Predictions(NamedTuple):
    """A trial's logits (N, C) float16 on one split."""

    trial: str
    task: str | None
    """Fingerprint: equal ones have the same gold labels."""
    teacher: str | None
    """Fingerprint: equal ones, on the same task, have the same teacher's logits."""
    logits: np.ndarray[Any, Any]

"""What is known about a student when it leaves, and what its export turned out to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from limbeck.tasks.task import Source


class ExportFailed(Exception):
    """The export did not prove equal to the student; nothing was left at the target."""


@dataclass(frozen=True)
class Confirmation:
    """The retention of the student's configuration over seeds that had no part in choosing it."""

    sweep: str
    seeds: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Facts:
    """Everything that is known about a student when it leaves."""

    sweep: str
    trial: str
    plan: str
    """The plan as YAML, after overrides."""
    spec: Mapping[str, Any]
    """The trial, as `TrialSpec.model_dump(mode="json")`."""
    task: str
    classes: tuple[str, ...]
    """Empty for regression."""
    metric: str
    metrics: Mapping[str, float]
    """What the trial measured of itself."""
    retention: float | None
    """On the held-out test split, as the trial measured it."""
    chosen_from: int
    """Complete trials the student was the best of; 1 when it was named."""
    sources: tuple[Source, ...]
    """Data and base models, with licences."""
    data_fingerprint: str
    created: datetime
    machine: str
    """Where the export is made and measured, in words."""
    threads: int
    """Processor threads its measurements may use."""
    teacher_logits: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(N, C) by split, where they were kept."""
    other_seeds: Mapping[int, float] = field(default_factory=dict)
    """Seed -> test retention of the sweep's other complete trials of the same configuration."""
    confirmed: Confirmation | None = None
    sweep_seconds: float | None = None
    """Training in all trials of the sweep, evaluations left out."""


@dataclass(frozen=True)
class Exported:
    """What an export turned out to be."""

    folder: Path
    difference: float
    """Largest absolute difference of a logit from the trained student's."""
    rows: int
    """Test rows that the exported folder classified in a fresh process."""
    value: float
    """The task's metric on them."""
    retention: float | None
    """That metric over the teacher's; None where the teacher's is not above zero or not known."""
    megabytes: float
    """All files of the folder."""

"""What a trial tells its driver: text on the way, typed values at both ends.

Text, because Tune looks into every number of a result, keeps statistics of it and writes them down in the end, which
took longer than all else the driver does for a result.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from limbeck.errors import Problem, UserError
from limbeck.storage import HERE, Storage

EndState = Literal["complete", "stopped", "failed"]
STOP = "stop"
"""A file of this name in a trial's folder asks the trial to stop at its next evaluation."""
_MESSAGE = "message"


@dataclass(frozen=True)
class Report:
    """How far a trial is, after an evaluation."""

    updates: int
    updates_total: int
    share: float
    """Part of the trial's budget that is spent: 1 at its end."""
    seconds: float
    metrics: dict[str, float]
    examples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    state: EndState
    metrics: dict[str, float] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None
    task: str | None = None
    """Fingerprint of the task, by which gold labels and the teacher's outputs are kept once for all trials."""
    teacher: str | None = None
    classes: tuple[str, ...] = ()
    """What the task's classes are called, in the order of the logits."""
    error: str | None = None
    traceback: str | None = None
    log: str | None = None
    """Warnings the trial gave."""


@dataclass(frozen=True)
class Said:
    """A line for the user."""

    line: str


@dataclass(frozen=True)
class Ready:
    """What the trials share has been made."""


@dataclass(frozen=True)
class Refused:
    """What the trials share cannot be made, and nothing is to start."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    """Where and what, when it is the user's to mend."""
    traceback: str | None = None

    def error(self) -> UserError:
        """Return the problems as what a user is told."""
        return UserError(*(Problem(where, what) for where, what in self.problems))


Message = Report | End | Said | Ready | Refused
_KINDS: dict[str, TypeAdapter[Message]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Report, End, Said, Ready, Refused)
}


def spent(updates: float, updates_total: float, seconds: float, limit: float | None) -> float:
    """Return the part of a trial's budget that is spent: of its updates or, where they are more, of limited seconds."""
    share = updates / updates_total if updates_total else 0.0
    return max(share, seconds / limit) if limit else share


def packed(message: Message) -> dict[str, Any]:
    """Return what `tune.report` takes."""
    text = json.dumps({"kind": type(message).__name__, **asdict(message)}, default=lambda number: number.item())
    return {_MESSAGE: text}


def unpacked(result: Mapping[str, Any]) -> Message | None:
    """Return the message in a result that Tune hands on; None where there is none."""
    if _MESSAGE not in result:
        return None
    values = json.loads(result[_MESSAGE])
    return _KINDS[values.pop("kind")].validate_python(values)


def request_stop(folder: Path, storage: Storage = HERE) -> None:
    """Ask the trial in `folder` to stop."""
    storage.write_text(folder / STOP, "")


def stop_requested(folder: Path, storage: Storage = HERE) -> bool:
    """Say whether the trial in `folder` was asked to stop."""
    return storage.exists(folder / STOP)

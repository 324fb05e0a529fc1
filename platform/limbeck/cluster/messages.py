"""What a trial tells its driver: plain dictionaries on the way, typed values at both ends."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

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


Message = Report | End | Said | Ready | Refused
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Report, End, Said, Ready, Refused)}


def packed(message: Message) -> dict[str, Any]:
    """Return what `tune.report` takes."""
    return {_MESSAGE: {"kind": type(message).__name__, **asdict(message)}}


def unpacked(result: Mapping[str, Any]) -> Message | None:
    """Return the message in a result that Tune hands on; None where there is none."""
    raw = result.get(_MESSAGE)
    if raw is None:
        return None
    return _KINDS[raw["kind"]](**{name: value for name, value in raw.items() if name != "kind"})


def request_stop(folder: Path, storage: Storage = HERE) -> None:
    """Ask the trial in `folder` to stop."""
    storage.write_text(folder / STOP, "")


def stop_requested(folder: Path, storage: Storage = HERE) -> bool:
    """Say whether the trial in `folder` was asked to stop."""
    return storage.exists(folder / STOP)

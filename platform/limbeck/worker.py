"""The seam between a trial and whatever runs it: what it is given, what it tells, what it leaves."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

RESULT = "result.json"


class TrialFailed(Exception):
    """The trial's own numbers went wrong (it diverged); its message is the reason the user reads."""


@dataclass(frozen=True)
class Progress:
    """What a trial tells between evaluations."""

    updates: int
    updates_total: int
    seconds: float
    """Training seconds so far, evaluations left out."""
    metrics: dict[str, float]
    checkpoint: Path | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Pairs of original and invented text; empty where nothing is invented."""


@dataclass(frozen=True)
class Result:
    """What a finished trial leaves in its folder."""

    metrics: dict[str, float]
    parameters: int
    seconds: float
    student: Path
    """A Hugging Face folder."""
    predictions: Path
    """Holds <split>.npy, teacher-<split>.npy (N, C) float16 logits and gold-<split>.npy labels."""
    evaluated: tuple[Progress, ...] = ()
    """What its evaluations found, for a driver that may not have heard it."""


def _nothing(_: Sequence[Tensor]) -> None:
    return None


def _itself(x: Tensor) -> Tensor:
    return x


def _ignore(_: Progress) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Worker:
    """The one seam between a trial and the machine or cluster it runs on. The defaults are one lone process."""

    folder: Path
    """Where the trial's checkpoints and results go. A checkpoint found there is resumed from."""
    rank: int = 0
    world_size: int = 1
    average: Callable[[Sequence[Tensor]], None] = _nothing
    """Replace tensors by their mean over the workers, in place."""
    gather: Callable[[Tensor], Tensor] = _itself
    report: Callable[[Progress], None] = _ignore
    should_stop: Callable[[], bool] = _never
    clock: Callable[[], float] = time.perf_counter
    graph: bool = False
    """Whether the finished student is timed in ONNX Runtime, too."""


def write_result(folder: Path, metrics: Mapping[str, float], evaluated: Sequence[Progress]) -> None:
    """Write the numbers of a trial that has ended; from then on it counts as finished."""
    past = [{**vars(one), "metrics": _to_json(one.metrics)} for one in evaluated]
    work = folder / f".{RESULT}"
    work.write_text(json.dumps({"metrics": _to_json(metrics), "evaluated": past}, indent=1))
    work.rename(folder / RESULT)


def read_result(folder: Path) -> Result | None:
    """What a finished trial left in its folder; None where it has not finished."""
    if not (folder / RESULT).is_file():
        return None
    raw = json.loads((folder / RESULT).read_text())
    metrics = _from_json(raw["metrics"])
    return Result(
        metrics=metrics,
        parameters=int(metrics["parameters"]),
        seconds=metrics["train_seconds"],
        student=folder / "student",
        predictions=folder / "predictions",
        evaluated=tuple(Progress(**{**one, "metrics": _from_json(one["metrics"])}) for one in raw["evaluated"]),
    )


def _to_json(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _from_json(raw: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in raw.items()}

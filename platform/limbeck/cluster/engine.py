"""What a trial consists of, as the cluster sees it: how shared things are made, and how a student is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from limbeck.cache import Cache
from limbeck.supplies import Supplies
from limbeck.training import train
from limbeck.trial import TrialSpec
from limbeck.worker import Result, Worker

Say = Callable[[str], None]


class SharedTask(Protocol):
    """What the results need to know of a task."""

    @property
    def fingerprint(self) -> str: ...


class Shared(Protocol):
    """What the results need to know of a trial's surroundings."""

    @property
    def task(self) -> SharedTask: ...

    @property
    def teacher_key(self) -> str: ...


class Stock(Protocol):
    """Everything trials share, kept warm in one process."""

    def prepare(self, spec: TrialSpec) -> Shared:
        """Make or load what a trial shares with others."""
        ...


@dataclass(frozen=True)
class Engine:
    """Two functions that every worker process can import by name."""

    stock: Callable[[Cache, torch.device, Say], Stock]
    train: Callable[[TrialSpec, Worker, Any], Result | None]
    """Its last argument is what `stock` returned."""


STANDARD = Engine(Supplies, train)

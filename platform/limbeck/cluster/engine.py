"""What a trial consists of, as the cluster sees it: how shared things are made, and how a student is trained."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from limbeck.cache import Cache
from limbeck.latency import recent_latency_ms
from limbeck.models import import_models, parameters, parameters_non_embedding
from limbeck.sections import LATENCIES, needs_graph
from limbeck.supplies import TEST, Supplies
from limbeck.training import train
from limbeck.trial import TrialSpec
from limbeck.worker import Result, Worker

Say = Callable[[str], None]


class SharedTask(Protocol):
    """What the results need to know of a task."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


class Shared(Protocol):
    """What the results need to know of a trial's surroundings."""

    @property
    def task(self) -> SharedTask: ...

    @property
    def teacher_key(self) -> str: ...


class Stock(Protocol):
    """Everything trials share, kept warm in one process."""

    def prepare(self, spec: TrialSpec) -> Shared:
        """Make everything a trial shares with others, so that no trial has to."""
        ...

    def prepared(self, spec: TrialSpec) -> Shared:
        """Return a trial's surroundings; at once when this process has seen them before."""
        ...


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Engine:
    """Functions that every worker process can import by name. `Any` is what `stock` returned."""

    stock: Callable[[Cache, torch.device, Say], Stock]
    train: Callable[[TrialSpec, Worker, Any], Result | None]
    sizes: Callable[[TrialSpec, Any, Collection[str]], Mapping[str, float]]
    """What a plan's limits bound, by these names, of the student before it trains."""
    warm: Callable[[], None] = _nothing
    """Imports what the stock will need, in a process that waits for another to fill it."""


def student_sizes(spec: TrialSpec, supplies: Supplies, wanted: Collection[str]) -> dict[str, float]:
    """Return the parameters of the trial's student and, where it is wanted, its latency measured here and now."""
    prepared = supplies.prepared(spec)
    student = supplies.new_student(spec, prepared, 0)
    found = {
        "parameters": float(parameters(student)),
        "parameters_non_embedding": float(parameters_non_embedding(student)),
    }
    if set(wanted) & set(LATENCIES):
        test, graph = prepared.splits[TEST], needs_graph(wanted)
        found |= recent_latency_ms(student, test, prepared.vocabulary, supplies.device, graph=graph)
    return found


STANDARD = Engine(Supplies, train, student_sizes, import_models)

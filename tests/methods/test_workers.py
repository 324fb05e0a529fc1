"""Two workers with half the batch each do what one worker with the whole batch does, for every method.

Workers are threads here that meet at a barrier; how real ones meet is the cluster's matter.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import toys
from limbeck.encoding import Batch, padded
from limbeck.methods import METHODS
from limbeck.methods.base import Method
from limbeck.noise import RowNoise
from limbeck.optimise import Optimiser
from methods.test_contract import SETTINGS

STEPS = 20
BATCH = 8
Settings = dict[str, Any]
VARIANTS: list[tuple[str, Settings]] = [
    *((name, {}) for name in METHODS),
    ("ad2", {"adversary": "loss", "steps": 2}),
    ("cilda", {"other_view": "positive"}),
    ("cilda", {"contrast": "mse"}),
    ("codir", {"contrast": "nce"}),
    ("codir", {"contrast": "mse", "pretraining": None}),
    ("l2a", {"selector": "similarity", "candidates": 2}),
    ("mixup", {"target": "labels"}),
]


class Meeting:
    """Where `count` threads exchange values. Between meetings one runs at a time: they would only fight for Python."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._turn = threading.Lock()
        self._barrier = threading.Barrier(count, timeout=60)
        self._values: list[Any] = [None] * count

    def run(self, work: Callable[..., None], *args: Any) -> None:
        """Do one worker's work; when it fails, so does everyone who waits for it."""
        with self._turn:
            try:
                work(*args)
            except BaseException:
                self._barrier.abort()
                raise

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Everyone's value, in order of rank; all wait for all."""
        self._values[rank] = value
        self._meet()
        everyone = list(self._values)
        self._meet()
        return everyone

    def _meet(self) -> None:
        self._turn.release()
        try:
            self._barrier.wait()
        finally:
            self._turn.acquire()

    def gather(self, rank: int) -> Callable[[Tensor], Tensor]:
        """`Parts.gather` of one worker."""

        def gather(x: Tensor) -> Tensor:
            everyone = self.exchange(rank, x.detach().clone())
            joined: Tensor = _Gather.apply(x, torch.cat(everyone), rank, self.count)
            return joined

        return gather

    def average(self, rank: int) -> Callable[[Sequence[Tensor]], None]:
        """`Worker.average` of one worker."""

        def average(tensors: Sequence[Tensor]) -> None:
            everyone = self.exchange(rank, [x.clone() for x in tensors])
            for own, *same in zip(tensors, *everyone, strict=True):
                own.copy_(torch.stack(same).mean(0))

        return average


class _Gather(torch.autograd.Function):
    """All workers' rows forward; backward this worker's rows, times the workers, as the average divides by them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, joined: Tensor, rank: int, count: int) -> Tensor:
        ctx.own, ctx.count = slice(rank * len(x), (rank + 1) * len(x)), count
        return joined

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.count * grad[ctx.own], None, None, None


@cache
def ragged_row(row: int) -> Batch:
    return toys.batch(1, seed=1000 + row, start=row, longest=5 + row % 8)


class RaggedRows:
    """Rows of 5 to 12 tokens, padded to the longest of those that are read."""

    def __len__(self) -> int:
        return 2 * toys.ROWS

    def read(self, rows: Sequence[int]) -> Batch:
        each = [ragged_row(row) for row in rows]
        width = max(b.input_ids.shape[1] for b in each)
        each = [padded(b, width, toys.PAD) for b in each]
        return Batch(**{name: torch.cat([getattr(b, name) for b in each]) for name in toys.tensors(each[0])})


def go(method: Method, places: range, average: Callable[[Sequence[Tensor]], None]) -> None:
    """Take STEPS steps on the given places of each batch."""
    optimisers = {
        name: Optimiser(
            part.module.parameters(), learning_rate=part.learning_rate or 1e-3, weight_decay=0.0, clip_norm=1.0
        )
        for name, part in method.trainable.items()
    }
    for step in range(STEPS):
        whole, phase = toys.batch(BATCH, seed=step % 5, start=BATCH * (step % 5)), method.phase(step)
        batch = Batch(**{name: value[places.start : places.stop] for name, value in toys.tensors(whole).items()})
        loss = method.loss(batch, phase, RowNoise(3, step, places))
        optimisers[phase].step(loss.total, average)


def trained(name: str, settings: Settings, count: int) -> list[Method]:
    """The method after its steps, as each of `count` workers has it."""
    config = METHODS[name].Config(**{**SETTINGS.get(name, {}), **settings})
    meeting, share = Meeting(count), BATCH // count

    def make(rank: int) -> Method:
        parts = toys.parts(gather=meeting.gather(rank))
        rows = RaggedRows()
        return METHODS[name](config, replace(parts, pool=rows, text=lambda count, max_tokens: rows))

    methods = [make(rank) for rank in range(count)]
    with ThreadPoolExecutor(count) as pool:
        runs = [
            pool.submit(meeting.run, go, method, range(rank * share, (rank + 1) * share), meeting.average(rank))
            for rank, method in enumerate(methods)
        ]
        for run in runs:
            run.result()
    return methods


def state(method: Method) -> dict[str, Tensor]:
    """All parameters and buffers, less those that need not agree.

    A key bias shifts all of a query's scores alike: its gradient is zero but for rounding, which Adam scales up. The
    store of Glitter's teacher holds the answers to a worker's own rows.
    """
    tensors = {
        f"{phase}/{name}": value
        for phase, part in method.trainable.items()
        for name, value in part.module.state_dict().items()
    }
    return {
        name: value
        for name, value in tensors.items()
        if not name.endswith("key.bias") and not (method.Config is METHODS["glitter"].Config and "student/1." in name)
    }


def label(value: object) -> str:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=label)
def test_two_workers_equal_one(name: str, settings: Settings) -> None:
    (alone,) = trained(name, settings, 1)
    first, second = (state(method) for method in trained(name, settings, 2))
    for key, expected in state(alone).items():
        torch.testing.assert_close(first[key], expected, atol=1e-4, rtol=0, msg=lambda m, key=key: f"{key}: {m}")
        assert torch.equal(second[key], first[key]), key


def test_the_steps_above_move_far_more_than_the_tolerance() -> None:
    (method,) = trained("kd", {}, 1)
    fresh = state(METHODS["kd"](METHODS["kd"].Config(), toys.parts()))
    assert max((value - fresh[key]).abs().max() for key, value in state(method).items()) > 1e-2

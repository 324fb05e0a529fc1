"""Workers of one trial as threads of one process: the same rows, gradients and gathered tensors as on a cluster."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

import toys
from limbeck.encoding import Batch
from limbeck.methods.base import Method, Parts
from limbeck.noise import RowNoise
from limbeck.optimise import Optimiser


class Meeting:
    """Where the workers hand each other tensors: nobody leaves before all have come."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size, timeout=60)
        self._slots: list[Tensor | None] = [None] * size

    def exchange(self, rank: int, tensor: Tensor) -> list[Tensor]:
        self._slots[rank] = tensor
        self.barrier.wait()
        out = [slot for slot in self._slots if slot is not None]
        self.barrier.wait()
        return out

    def average(self, rank: int, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            tensor.copy_(torch.stack(self.exchange(rank, tensor.clone())).mean(0))

    def gather(self, rank: int) -> Callable[[Tensor], Tensor]:
        return lambda tensor: _Gather.apply(tensor, self, rank)


class _Gather(torch.autograd.Function):
    """All workers' lines; each line's gradient is the sum of what all workers' losses say of it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, meeting: Meeting, rank: int) -> Tensor:
        ctx.meeting, ctx.rank, ctx.lines = meeting, rank, len(tensor)
        return torch.cat(meeting.exchange(rank, tensor.detach()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        total = torch.stack(ctx.meeting.exchange(ctx.rank, grad)).sum(0)
        return total[ctx.rank * ctx.lines : (ctx.rank + 1) * ctx.lines], None, None


def share(batch: Batch, places: range) -> Batch:
    """One worker's lines, as wide as the whole batch."""
    cut = {f.name: getattr(batch, f.name) for f in fields(Batch)}
    return Batch(**{name: None if x is None else x[places.start : places.stop] for name, x in cut.items()})


def train(build: Callable[[Parts], Method], batches: Sequence[Batch], workers: int) -> list[dict[str, Tensor]]:
    """Every worker's tensors, parameters and buffers, after one step a batch."""
    meeting = Meeting(workers)
    methods = [build(toys.parts(gather=meeting.gather(rank))) for rank in range(workers)]

    def work(rank: int) -> dict[str, Tensor]:
        try:
            return _work(methods[rank], batches, rank, meeting)
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, range(workers)))


def _work(method: Method, batches: Sequence[Batch], rank: int, meeting: Meeting) -> dict[str, Tensor]:
    optimisers = {
        name: Optimiser(part.module.parameters(), learning_rate=1e-3, weight_decay=0.0, clip_norm=1.0)
        for name, part in method.trainable.items()
    }
    for step, batch in enumerate(batches):
        phase = method.phase(step)
        size = len(batch) // meeting.size
        places = range(rank * size, (rank + 1) * size)
        loss = method.loss(share(batch, places), phase, RowNoise(3, step, places))
        optimisers[phase].step(loss.total, lambda tensors: meeting.average(rank, tensors))
    return {
        f"{name}/{key}": value.clone()
        for name, part in method.trainable.items()
        for key, value in part.module.state_dict().items()
    }

"""Gradients averaged over the workers of a trial."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

_BUCKET_BYTES = 25 * 2**20
_TABLE_ROWS = 4096
"""A matrix of so many rows is taken for a vocabulary's table."""


class PeerLostError(RuntimeError):
    """Another worker of the trial no longer answers."""


@contextmanager
def with_peers() -> Iterator[None]:
    """What is done together with the other workers. PeerLostError: it failed, which is how they learn that one went."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(str(error)) from error


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over the workers, in place; every worker must bring the same shapes in order.

    Small ones travel together. Of a vocabulary's table only the rows travel that are not zero everywhere, which are the
    words of the batch: of a three-layer student the whole table is two thirds of all gradients.
    """
    rows = [_rows_in_use(tensor) for tensor in tensors]
    parts = [tensor if used is None else tensor[used] for tensor, used in zip(tensors, rows, strict=True)]
    _average_whole(parts)
    for tensor, used, part in zip(tensors, rows, parts, strict=True):
        if used is not None:
            tensor.detach()[used] = part


def _rows_in_use(tensor: Tensor) -> Tensor | None:
    """Numbers of a table's rows that are not zero on every worker, ascending; None for what is best sent whole.

    All workers get the same. NaN is not zero.
    """
    if tensor.ndim != 2 or len(tensor) < _TABLE_ROWS:
        return None
    used = (tensor.detach() != 0).any(1).to(torch.uint8)
    with with_peers():
        dist.all_reduce(used, dist.ReduceOp.MAX)
    rows = used.nonzero().squeeze(1)
    return rows if 2 * len(rows) <= len(tensor) else None


def _average_whole(tensors: Sequence[Tensor]) -> None:
    size = dist.get_world_size()
    under_way = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
        # While one bucket travels the next is packed.
        with with_peers():
            under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in under_way:
        with with_peers():
            work.wait()
        flat /= size
        parts = torch.split(flat, [tensor.numel() for tensor in bucket])
        for tensor, part in zip(bucket, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group tensors of one type, in order, up to 25 MiB a group: every worker must form the same groups."""
    groups: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if not groups or size > room or groups[-1][0].dtype != tensor.dtype:
            groups.append([])
            room = _BUCKET_BYTES
        groups[-1].append(tensor)
        room -= size
    return groups

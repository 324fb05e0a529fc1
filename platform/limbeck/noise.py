"""Random numbers that belong to a row of the data and a step, not to the process that happens to draw them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.config import content_hash


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else."""
    return int(content_hash(list(parts), 16), 16) >> 1


class RowNoise:
    """Noise for the B rows of one worker's share of a batch.

    Each row has a stream of its own, seeded by (seed, step, place in the global batch), so that two workers with half
    the batch draw what one worker with the whole batch draws. Streams go on from call to call.

    Numbers are drawn in host memory, wherever they go: the same everywhere, and what is picked by them is known without
    waiting for a GPU. Gumbel numbers are too many for that and are drawn where they are used.
    """

    def __init__(self, seed: int, step: int, places: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(derived_seed(seed, step, place)) for place in places]

    def __len__(self) -> int:
        return len(self._streams)

    def repeated(self, times: int) -> "RowNoise":
        """The same streams for `times` lines a row: lines 0…times−1 draw from row 0's stream, one after the other."""
        wide = RowNoise(0, 0, [])
        wide._streams = [stream for stream in self._streams for _ in range(times)]
        return wide

    def uniform(self, width: int) -> Tensor:
        """Return (B, width) numbers from U[0, 1)."""
        return torch.stack([torch.rand(width, generator=s) for s in self._streams])

    def uniform_each(self, counts: Sequence[int]) -> Tensor:
        """Return (sum(counts),) numbers from U[0, 1): counts[b] from the stream of row b."""
        draws = [torch.rand(count, generator=s) for s, count in zip(self._streams, counts, strict=True)]
        return torch.cat(draws) if draws else torch.empty(0)

    def gumbel(self, counts: Sequence[int], width: int, device: torch.device | str = "cpu") -> Tensor:
        """Return (sum(counts), width) standard Gumbel numbers in float32: counts[b] lines by the stream of row b."""
        out = torch.empty(sum(counts), width, device=device)
        for stream, part in zip(self._streams, out.split(list(counts)), strict=True):  # type: ignore[no-untyped-call]
            seed = int(torch.randint(2**62, (), generator=stream))
            if out.device.type == "cpu":
                _minus_exponential(part, seed)
                # A row at a time stays in the processor's cache.
                part.neg_().log_().neg_()
            else:
                part.exponential_(generator=torch.Generator(out.device).manual_seed(seed))
        return out if out.device.type == "cpu" else out.log_().neg_()


def _minus_exponential(out: Tensor, seed: int) -> None:
    """Fill `out`, contiguous float32, with the negatives of standard exponential numbers, all below zero.

    By inversion of NumPy's bits, which is five times as fast as torch's own draw for processors. log1p keeps small
    numbers apart, and they decide the maximum of many Gumbel numbers: u is a multiple of 2⁻³³ near 0.
    """
    bits = np.random.SFC64(seed).random_raw(-(-out.numel() // 2)).view(np.uint32)[: out.numel()]
    np.copyto(out.numpy().reshape(-1), bits, casting="unsafe")
    # The largest u is the last float32 below 1.
    out.add_(0.5).mul_(-(1 - 2**-24) / 2**32).log1p_()

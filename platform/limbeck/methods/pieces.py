"""Rows of very different lengths, read a few at a time, so that short ones are not computed as wide as the longest."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.encoding import Batch

ROWS = 16
"""Rows of a piece: with half as many a step takes as long."""
_FULL_ENOUGH = 0.6
"""Batches of similar rows stay whole: nearly all that are drawn by length are fuller than this."""


@dataclass(frozen=True)
class Piece:
    """Some rows of a batch, of similar length."""

    rows: Tensor
    """(m,) int64: their places in the batch."""
    width: int
    """Tokens of the longest."""

    def of(self, x: Tensor) -> Tensor:
        """(m, width, …) of what is (B, n, …)."""
        return x[self.rows, : self.width]

    def batch(self, batch: Batch) -> Batch:
        """The piece as a batch of its own."""
        types = batch.token_type_ids
        return replace(
            batch,
            input_ids=self.of(batch.input_ids),
            attention_mask=self.of(batch.attention_mask),
            token_type_ids=None if types is None else self.of(types),
            maskable=self.of(batch.maskable),
            labels=batch.labels[self.rows],
            rows=batch.rows[self.rows],
            teacher_logits=batch.teacher_logits[self.rows],
        )


def pieces(batch: Batch) -> list[Piece]:
    """The batch's rows by length, a few to a piece; none where it is best read whole.

    That is where less than two fifths of it are pads, and on a GPU, which is quicker with one wide call.
    """
    if batch.input_ids.device.type != "cpu":
        return []
    lengths = batch.attention_mask.sum(1)
    if int(lengths.sum()) >= _FULL_ENOUGH * batch.attention_mask.numel():
        return []
    order = lengths.argsort(stable=True)
    return [Piece(rows, int(lengths[rows].max())) for rows in order.split(ROWS)]  # type: ignore[no-untyped-call]


def by_pieces(read: Callable[..., tuple[Tensor, ...]], batch: Batch, *beside: Tensor) -> tuple[Tensor, ...]:
    """`read(batch, *beside)`, by pieces where that is quicker. What is `beside` the batch is (B, n, …).

    It is to return tensors of a line for each row, (B, …), that hangs on no other row.
    """
    if not (cut := pieces(batch)):
        return read(batch, *beside)
    back = torch.cat([piece.rows for piece in cut]).argsort()
    parts = [read(piece.batch(batch), *map(piece.of, beside)) for piece in cut]
    return tuple(torch.cat(lines)[back] for lines in zip(*parts, strict=True))

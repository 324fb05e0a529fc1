"""Texts as token ids, and rows of similar length as padded batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """N texts, or pairs of texts, as rows of different lengths, one after the other."""

    ids: Ids
    """(T,), T tokens in all."""
    types: Ids | None
    """(T,): which of a pair's texts a token belongs to; None where all of them are 0."""
    lengths: Ids
    """(N,)"""
    starts: Ids
    """(N,): the place of each row's first token."""

    def __len__(self) -> int:
        return len(self.lengths)


class TextReader:
    """Turns texts into token ids as training did, cut at the same length."""

    def __init__(self, backend: Tokenizer, max_tokens: int, pad: int, segments: bool) -> None:
        backend.enable_truncation(max_tokens)
        backend.no_padding()
        self._backend, self._pad, self._segments = backend, pad, segments

    def read(self, columns: Sequence[Sequence[str]]) -> Tokens:
        """Tokenise one or two columns of N texts each."""
        rows: Any = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        # Without offsets into the text, which nobody reads here, it is quicker.
        found = self._backend.encode_batch_fast(rows)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        total = int(lengths.sum())
        ids = np.fromiter(chain.from_iterable(one.ids for one in found), np.int64, total)
        types = None
        if self._segments and len(columns) > 1:
            types = np.fromiter(chain.from_iterable(one.type_ids for one in found), np.int64, total)
        return Tokens(ids, types, lengths, np.cumsum(lengths) - lengths)

    def batch(self, tokens: Tokens, rows: Sequence[int] | Ids) -> dict[str, Ids]:
        """Return ids, mask and perhaps types of B rows, (B, n) each, padded to the longest of them."""
        lengths = tokens.lengths[rows][:, None]
        places = np.arange(lengths.max())
        real = places < lengths
        # Pads read the text's last token, which is then replaced: no place lies beyond the tokens.
        from_where = tokens.starts[rows][:, None] + np.minimum(places, lengths - 1)
        out = {"input_ids": np.where(real, tokens.ids[from_where], self._pad), "attention_mask": real.astype(np.int64)}
        if self._segments:
            types = np.zeros_like(out["input_ids"])
            if tokens.types is not None:
                np.copyto(types, tokens.types[from_where], where=real)
            out["token_type_ids"] = types
        return out


def by_length(lengths: NDArray[np.int64], batch_size: int) -> Iterator[Ids]:
    """Yield all row numbers once, longest rows first, so that a batch's rows hardly need padding."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


Batch = Mapping[str, Ids]

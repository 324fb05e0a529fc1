"""Texts as token ids, and rows of similar length as padded batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """N texts, or pairs of texts, as rows of different lengths."""

    ids: Sequence[Sequence[int]]
    types: Sequence[Sequence[int]] | None
    """Which of a pair's texts a token belongs to; None where the model is not told."""
    lengths: NDArray[np.int64]
    """(N,)"""

    def __len__(self) -> int:
        return len(self.ids)


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
        ids = [one.ids for one in found]
        types = [one.type_ids for one in found] if self._segments else None
        return Tokens(ids, types, np.fromiter(map(len, ids), np.int64, len(ids)))

    def batch(self, tokens: Tokens, rows: Sequence[int] | Ids) -> dict[str, Ids]:
        """Return ids, mask and perhaps types of B rows, (B, n) each, padded to the longest of them."""
        width = int(tokens.lengths[rows].max())
        shape = (len(rows), width)
        ids, mask = np.full(shape, self._pad, np.int64), np.zeros(shape, np.int64)
        types = None if tokens.types is None else np.zeros(shape, np.int64)
        for place, row in enumerate(rows):
            length = tokens.lengths[row]
            ids[place, :length] = tokens.ids[row]
            mask[place, :length] = 1
            if types is not None and tokens.types is not None:
                types[place, :length] = tokens.types[row]
        out = {"input_ids": ids, "attention_mask": mask}
        return out if types is None else {**out, "token_type_ids": types}


def by_length(lengths: NDArray[np.int64], batch_size: int) -> Iterator[Ids]:
    """Yield all row numbers once, longest rows first, so that a batch's rows hardly need padding."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


Batch = Mapping[str, Ids]

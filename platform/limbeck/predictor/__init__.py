"""A model folder at work: texts in, logits and calibrated probabilities out."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck.calibration import UNCALIBRATED, read_calibration
from limbeck.errors import Problem, UserError
from limbeck.metrics import probabilities
from limbeck.predictor.engines import load
from limbeck.predictor.tokens import Batch, Tokens, by_length

__all__ = ["Predictor", "Row", "answered"]

Row = tuple[str, ...]
"""One text, or a pair of them."""


class Predictor:
    """A classifier and its tokenizer, loaded from a folder (Hugging Face or ONNX) and ready for texts."""

    def __init__(
        self, folder: Path, max_tokens: int | None = None, threads: int | None = None, spin: bool = True
    ) -> None:
        """Load the folder. UserError: it holds no model that can be loaded. See `engines.load` for the rest."""
        self._loaded = loaded = load(folder, max_tokens, threads, spin)
        self.classes = loaded.classes
        """Class names in the order of the logits; empty for regression."""
        self.parameters = loaded.parameters
        """Number of parameters, embeddings included; None where the folder does not say."""
        self.columns = loaded.columns
        """Texts that make a row, 1 or 2; None where the folder does not say."""
        self.runtime = loaded.runtime
        """The library that computes, with its version."""
        try:
            self.calibration = read_calibration(folder) if self.classes else UNCALIBRATED
        except (OSError, ValueError) as error:
            raise UserError(Problem(str(folder), f"its calibration cannot be read: {error}")) from error

    def logits(self, columns: Sequence[Sequence[str]], batch_size: int = 32) -> NDArray[np.float32]:
        """Return (N, C) float32 logits for one or two columns of N texts each.

        Texts are sorted by length inside, so that pads stay few; the result is in the order given.
        """
        tokens = self.tokens(columns)
        out: NDArray[np.float32] = np.zeros((len(tokens), self._loaded.outputs), np.float32)
        for rows in by_length(tokens.lengths, batch_size):
            out[rows] = self.run(self.batch(tokens, rows))
        return out

    def tokens(self, columns: Sequence[Sequence[str]]) -> Tokens:
        """Return N texts as token ids."""
        return self._loaded.reader.read(columns)

    def batch(self, tokens: Tokens, rows: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return some of these rows, padded to the longest of them."""
        return self._loaded.reader.batch(tokens, rows)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the (B, C) logits of a batch."""
        return self._loaded.engine(batch)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the (N, C) calibrated probabilities of classes."""
        return probabilities(logits / self.calibration.temperature)


def answered(
    predictor: Predictor, rows: Iterable[Row], batch_size: int, window: int
) -> Iterator[tuple[list[Row], NDArray[np.float32]]]:
    """Yield rows in the order given, with their (n, C) logits, `window` rows at a time.

    Within a window rows are batched by length, so that hardly any time goes to padding; no more than one window is
    held in memory. UserError: a row cannot be read; those before it are answered first.
    """
    for some in _windows(rows, window):
        yield some, predictor.logits(list(zip(*some, strict=True)), batch_size)


def _windows(rows: Iterable[Row], window: int) -> Iterator[list[Row]]:
    some: list[Row] = []
    try:
        for row in rows:
            some.append(row)
            if len(some) == window:
                yield some
                some = []
    except UserError:
        if some:
            yield some
        raise
    if some:
        yield some

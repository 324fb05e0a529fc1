"""`limbeck predict`: texts in, JSON lines out."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli.export import usable_threads
from limbeck.cli.places import Commands, add_command
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.predictor import Predictor, Row

WINDOW_BATCHES = 64
"""Batches sorted by length together: more would save no more padding, and make a reader of the output wait longer."""
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode
_QUIET_SECONDS = 3.0
_PROGRESS_SECONDS = 1.0


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "predict",
        "classify lines, or the rows of a table, one JSON line each",
        _predict,
        [
            "echo 'a fine film' | limbeck predict best",
            "limbeck predict best < lines.txt > labels.jsonl",
            "limbeck predict best --input reviews.parquet --text body > labels.jsonl",
        ],
    )
    parser.add_argument("model", metavar="DIR", type=Path, help="an export, or any Hugging Face folder")
    parser.add_argument(
        "--input", metavar="FILE", type=Path, help=".csv, .tsv, .jsonl or .parquet (default: lines of standard input)"
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="COLUMN", help="of the table; given twice for a pair (text)"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts the model takes at once (32)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all)")


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.batch_size < 1:
        raise UserError(Problem("--batch-size", f"must be 1 or more, got {arguments.batch_size}"))
    if arguments.text and arguments.input is None:
        raise UserError(Problem("--text", "names a column of a table: give --input, too"))
    threads = usable_threads(arguments.threads)
    # Tokenising happens between batches, when the model leaves the processors idle; nothing is forked here.
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(threads)}
    from limbeck.predictor import Predictor, answered

    predictor = Predictor(arguments.model, threads=threads)
    # A folder from elsewhere does not say what it takes; whoever names two columns does.
    rows = _rows(arguments, predictor.columns or min(2, len(arguments.text)) or 1)
    # A person at a terminal gets an answer a line; a pipe gets batches.
    asked = arguments.input is None and sys.stdin.isatty()
    window = 1 if asked else WINDOW_BATCHES * arguments.batch_size
    progress = Progress()
    for some, logits in answered(predictor, rows, arguments.batch_size, window):
        sys.stdout.writelines(answers(predictor, some, logits))
        sys.stdout.flush()
        progress.add(len(some))
    progress.end()
    return 0


def _rows(arguments: argparse.Namespace, columns: int) -> "Iterator[Row]":
    from limbeck.predictor.inputs import line_rows, table_rows

    if arguments.input is None:
        return line_rows(sys.stdin.buffer, columns)
    return table_rows(arguments.input, arguments.text, columns)


def answers(predictor: "Predictor", rows: "list[Row]", logits: Any) -> Iterator[str]:
    """Yield a JSON line for every row: its text, its label, and every class's probability."""
    texts = ("\t".join(row) for row in rows)
    if not predictor.classes:
        for text, value in zip(texts, logits[:, 0].tolist(), strict=True):
            yield _AS_JSON({"text": text, "label": value, "probabilities": {}}) + "\n"
        return
    chances = predictor.probabilities(logits)
    for text, best, row in zip(texts, chances.argmax(axis=1).tolist(), chances.round(6).tolist(), strict=True):
        answer = {
            "text": text,
            "label": predictor.classes[best],
            "probabilities": dict(zip(predictor.classes, row, strict=True)),
        }
        yield _AS_JSON(answer) + "\n"


class Progress:
    """Says on standard error how far it is, once it has taken a while; on a terminal in one line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = self._said = clock()
        self._rows = 0
        self._live = sys.stderr.isatty()

    def add(self, rows: int) -> None:
        """Count rows that are done."""
        self._rows += rows
        now = self._clock()
        pause = _PROGRESS_SECONDS if self._live else 10 * _PROGRESS_SECONDS
        if now - self._started > _QUIET_SECONDS and now - self._said > pause:
            self._said = now
            print(self._line(), end="" if self._live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Say what it took in all, if it took long enough to ask."""
        if self._clock() - self._started > _QUIET_SECONDS:
            print(f"{self._line()}, done", file=sys.stderr)

    def _line(self) -> str:
        seconds = self._clock() - self._started
        start = "\r" if self._live else ""
        return f"{start}{self._rows:,} texts in {seconds:,.0f} s, {self._rows / seconds:,.0f} a second"

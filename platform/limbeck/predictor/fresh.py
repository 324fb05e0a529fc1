"""The fresh process in which an export must prove itself: it sees the folder, the texts, and nothing else.

`python -m limbeck.predictor.fresh FOLDER texts.json answer.npz`
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.predictor import Predictor
from limbeck.timing import by_batch, call_ms

ALONE_ROWS = 64
_WARM_UP, _REPEATS = 5, 50
_FRESH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from limbeck.predictor.fresh import main; main(sys.argv[1:])"
_TIMED = "timed"
Columns = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Seen:
    """What the fresh process found."""

    logits: Mapping[str, NDArray[np.float32]]
    """(N, C) for each split."""
    latency_ms: Mapping[str, float]
    """`batch1/p50`, `batch1/p95`, `batch32/p50`, …: a forward pass over rows of median length."""
    drift: float
    """Largest difference of a logit between a row that is alone and the same row in a batch."""
    runtime: str
    threads: int


def look(folder: Path, splits: Mapping[str, Columns], timed: str, threads: int, scratch: Path) -> Seen:
    """Let a new Python process load `folder`, classify the splits and time itself on the split `timed`.

    `scratch` is an existing folder for the texts on their way in and the answers on their way out. RuntimeError: the
    process failed, with what it said.
    """
    texts, answer = scratch / "texts.json", scratch / "answer.npz"
    asked = {_TIMED: timed, "threads": threads, "splits": {name: list(map(list, c)) for name, c in splits.items()}}
    texts.write_text(json.dumps(asked))
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-P", "-c", _FRESH, root, str(folder), str(texts), str(answer)]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if run.returncode:
        raise RuntimeError(f"the folder does not load in a new process:\n{run.stderr.strip()[-2000:]}")
    with np.load(answer, allow_pickle=False) as arrays:
        logits = {name.removeprefix("logits/"): arrays[name] for name in arrays if name.startswith("logits/")}
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
    return Seen(logits, **facts)


def main(arguments: Sequence[str]) -> None:
    """Read texts.json, write answer.npz."""
    folder, texts, answer = map(Path, arguments)
    asked = json.loads(texts.read_text())
    threads = int(asked["threads"])
    predictor = Predictor(folder, threads=threads)
    columns = asked["splits"][asked[_TIMED]]
    logits = {f"logits/{name}": predictor.logits(some) for name, some in asked["splits"].items()}
    facts = {
        "latency_ms": latency_ms(predictor, columns),
        "drift": drift(predictor, columns, logits[f"logits/{asked[_TIMED]}"]),
        "runtime": predictor.runtime,
        "threads": threads,
    }
    # Renamed when whole, so that a reader never sees half an archive.
    part = answer.with_suffix(".part.npz")
    np.savez(part, facts=json.dumps(facts), **logits)  # type: ignore[arg-type]
    part.replace(answer)


def latency_ms(
    predictor: Predictor, columns: Columns, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return milliseconds of a forward pass over 1 and 32 rows of median length: median and 95th percentile of 50."""
    tokens = predictor.tokens(columns)
    middle = np.argsort(tokens.lengths, kind="stable")[len(tokens) // 2 :]

    def one(size: int) -> dict[str, float]:
        batch = predictor.batch(tokens, np.resize(middle[:size], size))
        return call_ms(lambda: predictor.run(batch), _REPEATS, _WARM_UP, clock)

    return by_batch(one)


def drift(predictor: Predictor, columns: Columns, batched: NDArray[np.float32]) -> float:
    """Return how far the logits of the first rows move when each is classified alone."""
    alone = predictor.logits([column[:ALONE_ROWS] for column in columns], batch_size=1)
    return float(np.abs(alone - batched[: len(alone)]).max(initial=0.0))


if __name__ == "__main__":
    main(sys.argv[1:])

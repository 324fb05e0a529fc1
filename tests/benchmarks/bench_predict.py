"""Print what `limbeck predict` takes for many lines, beside the time of the model alone.

Not part of the test suite: `python tests/benchmarks/bench_predict.py [--model DIR] [--lines N]`. The model alone is
timed in a process of its own on the same batches, their tokens made ready; `predict` is timed as a command, its start
included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from ready_models import MAX_TOKENS, review_texts, write_form, write_student

from limbeck.cli.predict import WINDOW_BATCHES
from limbeck.predictor import Predictor
from limbeck.predictor.tokens import by_length

BATCH = 32


def model_seconds(model: Path, texts: list[str], threads: int) -> tuple[float, int, int]:
    """Seconds in the model, and the tokens it saw: real ones and pads."""
    predictor = Predictor(model, MAX_TOKENS, threads)
    spent, real, padded = 0.0, 0, 0
    for start in range(0, len(texts), WINDOW_BATCHES * BATCH):
        tokens = predictor.tokens([texts[start : start + WINDOW_BATCHES * BATCH]])
        for rows in by_length(tokens.lengths, BATCH):
            batch = predictor.batch(tokens, rows)
            started = time.perf_counter()
            predictor.run(batch)
            spent += time.perf_counter() - started
            real += int(batch["attention_mask"].sum())
            padded += batch["attention_mask"].size
    return spent, real, padded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an export (default: a student of 2 layers in eight bits)")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = list(islice(cycle(review_texts()), options.lines))
    if options.alone:
        print(json.dumps(model_seconds(options.model, texts, options.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        report(options, texts, Path(folder))


def report(options: argparse.Namespace, texts: list[str], scratch: Path) -> None:
    """Measure both and print."""
    model = options.model or write_form("onnx-int8", write_student(scratch / "student", 2), scratch / "model")
    shared = ["--threads", str(options.threads)]
    alone = [sys.executable, __file__, "--alone", "--model", str(model), "--lines", str(options.lines), *shared]
    run = subprocess.run(alone, capture_output=True, text=True, check=True)
    seconds, real, padded = json.loads(run.stdout)
    lines = scratch / "lines.txt"
    lines.write_text("\n".join(" ".join(text.split()) for text in texts) + "\n")
    command = [sys.executable, "-m", "limbeck.cli", "predict", str(model), "--batch-size", str(BATCH), *shared]
    started = time.perf_counter()
    with lines.open() as given, (scratch / "out.jsonl").open("w") as out:
        subprocess.run(command, stdin=given, stdout=out, check=True)
    whole = time.perf_counter() - started
    with (scratch / "out.jsonl").open() as out:
        assert sum(1 for _ in out) == len(texts)
    print(f"{len(texts):,} lines, {options.threads} threads; pads are {1 - real / padded:.1%} of the tokens")
    print(f"model alone {seconds:.1f} s, predict {whole:.1f} s: {whole / seconds:.3f} times")


if __name__ == "__main__":
    main()

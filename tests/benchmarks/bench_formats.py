"""Print how much faster a student answers than its teacher, in torch, as an ONNX graph and with eight bits.

Not part of the test suite: `python tests/benchmarks/bench_formats.py [--teacher DIR --student DIR] [--layers N]`.
Throughput is of batches of 32 film reviews of similar length, tokens made ready; latency is of one review at a time.
Every engine gets the same batches, in turn, and keeps its best round. The teacher computes in torch's float32, and, for
comparison, under bf16 autocast where the processor multiplies bf16 natively.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ready_models import MAX_TOKENS, review_texts, write_form, write_student, write_teacher

from limbeck.optimise import native_precision
from limbeck.predictor import Predictor
from limbeck.predictor.tokens import Batch, by_length

Run = Callable[[Batch], object]


def seconds(run: Run, batches: list[Batch]) -> list[float]:
    """Seconds of each batch."""
    times = []
    for batch in batches:
        started = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, help="a Hugging Face folder (default: 6 layers of 384)")
    parser.add_argument("--student", type=Path, help="a Hugging Face folder (default: the teacher's first layers)")
    parser.add_argument("--layers", type=int, default=2, help="of the default student")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(options, Path(scratch))


def report(options: argparse.Namespace, scratch: Path) -> None:
    """Measure and print."""
    teacher = options.teacher or write_teacher(scratch / "teacher")
    student = options.student or write_student(scratch / "student", options.layers)
    forms = {form: write_form(form, student, scratch / form) for form in ("onnx", "onnx-int8")}
    folders = {"teacher, torch": teacher, "student, torch": student, **{f"student, {f}": d for f, d in forms.items()}}
    models = {name: Predictor(folder, MAX_TOKENS, options.threads) for name, folder in folders.items()}
    runs: dict[str, Run] = {name: model.run for name, model in models.items()}
    if native_precision(torch.device("cpu")) == "bf16":
        for name in ("teacher, torch", "student, torch"):
            runs[f"{name} bf16"] = bf16(runs[name])
    reader = models["teacher, torch"]
    tokens = reader.tokens([review_texts()[: options.rows]])
    many = [reader.batch(tokens, rows) for rows in by_length(tokens.lengths, 32)]
    single = [reader.batch(tokens, [row]) for row in range(0, len(tokens), max(1, len(tokens) // 200))]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            seconds(run, many[:2])
            whole, each = sum(seconds(run, many)), np.median(seconds(run, single))
            found[name].append((len(tokens) / whole, 1000 * float(each)))
    rates = {name: max(rate for rate, _ in rounds) for name, rounds in found.items()}
    medians = {name: min(median for _, median in rounds) for name, rounds in found.items()}
    print(f"{len(tokens)} reviews, {tokens.lengths.mean():.1f} tokens each; {options.threads} threads")
    print(f"{'':28}{'texts/s, batch 32':>20}{'×':>7}{'ms, batch 1 (p50)':>20}{'×':>7}")
    for name in sorted(runs):
        faster, sooner = rates[name] / rates["teacher, torch"], medians["teacher, torch"] / medians[name]
        print(f"{name:28}{rates[name]:>20,.0f}{faster:>7.2f}{medians[name]:>20.2f}{sooner:>7.2f}")


def bf16(run: Run) -> Run:
    """The same under autocast."""

    def autocast(batch: Batch) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return run(batch)

    return autocast


if __name__ == "__main__":
    main()

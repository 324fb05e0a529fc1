"""Print what a trial costs beside its steps: in a process that has just started, and in one that has run trials before.

Not part of the test suite: `python tests/benchmarks/bench_trial.py`. Networks have real sizes (22.7 M parameters in the
teacher), rows are few. Everything that trials share is in the cache beforehand; the time to make it is printed apart.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STARTED = time.time()


def child(folder: Path, trials: int) -> None:
    """Run trials of one update and print the seconds that led to each first step, and what came after the last."""
    from small_world import small_plan, spec_of, supplies_at

    from limbeck.training import train
    from limbeck.worker import Worker

    told: dict[str, Any] = {"imports": time.time() - STARTED, "trials": []}
    plan, supplies = small_plan(folder), supplies_at(folder)
    for seed in range(trials):
        spec, looks = spec_of(plan, seed, updates=1, evaluations=1), []

        def clock(looks: list[float] = looks) -> float:
            looks.append(time.perf_counter())
            return looks[-1]

        began = time.perf_counter()
        supplies.prepared(spec)
        prepared = time.perf_counter()
        train(spec, Worker(Path(tempfile.mkdtemp(dir=folder)), clock=clock), supplies)
        parts = {"shared": prepared - began, "own": looks[0] - prepared, "after": time.perf_counter() - looks[-1]}
        told["trials"].append(parts)
    print(json.dumps(told))


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.child:
            child(options.child, options.trials)
            return
        runs = []
        for _ in range(2):
            command = [sys.executable, __file__, "--child", str(folder), "--trials", str(options.trials)]
            began = time.perf_counter()
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append((json.loads(out.splitlines()[-1]), time.perf_counter() - began))
    (first, _), (second, _) = runs
    made = first["trials"][0]
    print(f"making teacher, generator, tokens and answers: {made['shared'] + made['own']:.1f} s, once")
    cold, warm = second["trials"][0], second["trials"][-1]
    rows = {
        "imports": (second["imports"], 0.0),
        "teacher, task, answers: from the cache": (cold["shared"], warm["shared"]),
        "student, generator, optimisers": (cold["own"], warm["own"]),
    }
    print(f"\n{'seconds before the first step':<42}{'new process':>12}{'warm process':>14}")
    for name, (before, after) in rows.items():
        print(f"{name:<42}{before:>12.2f}{after:>14.3f}")
    sums = [sum(values) for values in zip(*rows.values(), strict=True)]
    print(f"{'in all':<42}{sums[0]:>12.2f}{sums[1]:>14.3f}   ratio {sums[0] / sums[1]:.0f}")
    print(f"{'evaluation, test sets, files at the end':<42}{cold['after']:>12.2f}{warm['after']:>14.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3, help="trials in one process; the last counts as warm")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    main(parser.parse_args())

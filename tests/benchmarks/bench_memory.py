"""Print the resident memory of one trial, and what a second one beside it adds.

Not part of the test suite: `python tests/benchmarks/bench_memory.py`. Each trial is a process forked from one that has
done the imports, as in a sweep on this machine; `--apart` starts each as an interpreter of its own, as clusters do.
Memory that processes share (modules, libraries, the teacher's weights, tokens) is counted once: proportional set sizes
add up to what the machine has to hold, what is forked from included.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from limbeck.cluster.forkserver import forkserver
from limbeck.cluster.session import IMPORTS, IMPORTS_OF_RAY
from limbeck.memory import HUGE_PAGES

SETTLE_STEPS = 30


def child(folder: Path, seed: int) -> None:
    """Run a long trial; say when it has taken a few steps."""
    from small_world import small_plan, spec_of, supplies_at

    import limbeck.cluster.worker  # noqa: F401
    from limbeck.training import train
    from limbeck.worker import Worker

    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        # The loop looks twice a step.
        if looks == 2 * SETTLE_STEPS:
            print("running", os.getpid(), flush=True)
        return time.perf_counter()

    spec = spec_of(small_plan(folder), seed, updates=100_000, evaluations=1)
    train(spec, Worker(Path(tempfile.mkdtemp(dir=folder)), clock=clock), supplies_at(folder))


def sizes(process: int) -> tuple[float, float]:
    """MiB resident, and MiB with shared pages divided among those who share them."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines[1:]}
    return found["Rss"], found["Pss"]


def family(folder: Path) -> list[int]:
    """The trials in `folder`, what they were forked from, and what waits for them."""
    ours = (str(folder).encode(), b"limbeck/cluster/forkserver.py")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if any(mark in path.read_bytes() for mark in ours):
                found.append(int(path.parent.name))
    return found


def measured(folder: Path, python: Sequence[str], trials: int, seconds: float) -> tuple[list[float], float]:
    """The most that each trial has resident, and the most that all together take, in MiB."""
    command = [*python, __file__, "--child", str(folder), "--seed"]
    running = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True) for k in range(trials)]
    numbers: list[int] = []
    try:
        for process in running:
            assert process.stdout is not None
            word, _, number = process.stdout.readline().partition(" ")
            if word != "running":
                raise SystemExit("a trial ended before it was measured")
            numbers.append(int(number))
        everybody = family(folder)
        resident, together, until = [0.0] * trials, 0.0, time.monotonic() + seconds
        while time.monotonic() < until:
            now = {number: sizes(number) for number in everybody}
            resident = [max(a, now[number][0]) for a, number in zip(resident, numbers, strict=True)]
            together = max(together, sum(pss for _, pss in now.values()))
            time.sleep(0.05)
    finally:
        for number in numbers:
            os.kill(number, signal.SIGKILL)
        for process in running:
            process.kill()
            process.wait()
    return resident, together


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    if options.child:
        child(options.child, options.seed)
        return
    fork = nullcontext(None) if options.apart else forkserver(IMPORTS, IMPORTS_OF_RAY, HUGE_PAGES)
    with tempfile.TemporaryDirectory() as scratch, fork as forked:
        python = shlex.split(forked) if forked else [sys.executable]
        # The first run makes what trials share.
        measured(Path(scratch), python, 1, 0.0)
        (one,), alone = measured(Path(scratch), python, 1, options.seconds)
        both, together = measured(Path(scratch), python, 2, options.seconds)
    print(f"one trial: {one:,.0f} MiB resident")
    print(f"two at once: {both[0]:,.0f} and {both[1]:,.0f} MiB resident, {together:,.0f} MiB with shared pages once")
    print(f"the second adds {together - alone:,.0f} MiB: {(together - alone) / one:.0%} of the first")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long to look at running trials")
    parser.add_argument("--apart", action="store_true", help="start each trial as an interpreter of its own")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    main(parser.parse_args())

"""Print what trials share costs to make, what it costs to find again, and how often it is found.

Not part of the test suite: `python tests/benchmarks/bench_cache.py`. Networks have real sizes (22.7 M parameters in the
teacher), rows are few. Two processes start at once on an empty cache, as two slots of a sweep do: one makes each thing,
the other waits for it. A third process comes later, and prepares a second trial besides.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def child(folder: Path) -> None:
    """Prepare two trials of two methods; print seconds, hits and misses by kind."""
    from small_world import small_plan, supplies_at

    from limbeck.trial import TrialSpec

    plan, supplies = small_plan(folder), supplies_at(folder)
    cache, within = supplies.cache, supplies.cache.folder
    spent: dict[str, float] = {}

    def timed(kind: str, key: Any, build: Callable[[Path], None]) -> Path:
        began = time.perf_counter()
        found = within(kind, key, build)
        spent[kind] = spent.get(kind, 0.0) + time.perf_counter() - began
        return found

    cache.folder = timed  # type: ignore[method-assign]
    raw = plan.spec({}, 0).model_dump(mode="json")
    seconds = []
    for method in (raw["method"], {"name": "kd"}):
        began = time.perf_counter()
        supplies.prepare(TrialSpec.model_validate({**raw, "method": method}))
        seconds.append(time.perf_counter() - began)
    found = {"spent": spent, "hits": cache.hits, "misses": cache.misses, "seconds": seconds}
    print(json.dumps(found))


def start(folder: Path) -> subprocess.Popen[str]:
    """A process that prepares, as a trial's does."""
    return subprocess.Popen(
        [sys.executable, __file__, "--child", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it found."""
    out = process.communicate()[0]
    if process.returncode:
        raise SystemExit("a process failed while it prepared")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory() as scratch:
        # Written beforehand, so that the two do not write the task's files at once.
        from small_world import small_plan

        small_plan(Path(scratch))
        both = [start(Path(scratch)) for _ in range(2)]
        first, second = map(told, both)
        later = told(start(Path(scratch)))
        sizes = {
            kind.name: sum(path.stat().st_size for path in kind.rglob("*") if path.is_file()) / 2**20
            for kind in (Path(scratch) / "cache").iterdir()
        }
    print(f"{'kind':<18}{'made':>6}{'found':>7}{'MiB':>8}{'s to make':>11}{'s to find':>11}{'ratio':>8}")
    for kind in sorted(later["hits"]):
        made = sum(one["misses"].get(kind, 0) for one in (first, second, later))
        hits = sum(one["hits"].get(kind, 0) for one in (first, second, later))
        dear, cheap = max(one["spent"][kind] for one in (first, second)), later["spent"][kind]
        row = f"{kind:<18}{made:>6}{hits:>7}{sizes[kind]:>8.1f}{dear:>11.2f}{cheap:>11.3f}{dear / cheap:>8.0f}"
        print(row)
    every = (first, second, later)
    hits, misses = (sum(sum(one[what].values()) for one in every) for what in ("hits", "misses"))
    dear = max(one["seconds"][0] for one in (first, second))
    share = hits / (hits + misses)
    print(f"\n{len(every)} processes: {misses} things made, {share:.0%} of {hits + misses} looks found one")
    print(f"what a trial shares: {dear:.1f} s to make, {later['seconds'][0]:.2f} s in a new process", end=", ")
    print(f"{later['seconds'][1]:.3f} s for its second trial")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    main(parser.parse_args())

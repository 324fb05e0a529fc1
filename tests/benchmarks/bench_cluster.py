"""Print what a sweep's bookkeeping costs the driver, a result, in SQLite and, where it is installed, PostgreSQL.

Not part of the test suite: `python tests/benchmarks/bench_cluster.py`; `--trials N` for a shorter one. Nothing trains:
ledger, Optuna and the databases are real.
"""

import argparse
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))
sys.path.insert(1, str(Path(__file__).parents[1]))

import numpy as np

from limbeck.cluster.configurations import Searched
from limbeck.cluster.ledger import Ledger
from limbeck.cluster.messages import End, Report
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.spool import PatientStore, Spool
from limbeck.cluster.study import Study
from limbeck.plan import Plan, parse_plan
from limbeck.store import NewSweep, open_store
from postgres import Server, binaries

EVALUATIONS = 4
PLAN = """
name: bench
base:
  task: movies
  method: {name: mate, mask_rate: 0.3}
  training: {updates: 8, evaluations: 4, rows: 1, learning_rate: 1e-5}
objective: {retention: max}
vary:
  method.mask_rate: {uniform: [0.1, 0.5]}
  training.learning_rate: {loguniform: [1e-6, 1e-4]}
  student.layers: {choice: [1, 2, 3, 4]}
search: {sampler: tpe, trials: 1000}
"""
METRICS = {f"loss/part {i}": 0.5 for i in range(12)}


def plan_of(trials: int) -> Plan:
    return parse_plan(PLAN, "bench.yaml", [f"search.trials={trials}"])


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """The URL of an empty database of each kind there is."""
    found = {"SQLite": f"sqlite:///{folder}/limbeck.db"}
    if binaries() is None:
        print("PostgreSQL is not installed: left out")
        yield found
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = Server(folder / "pg", probe.getsockname()[1], durable=True)
    server.start()
    try:
        yield {**found, "PostgreSQL": server.new_database("bench")}
    finally:
        server.stop()


def drive(plan: Plan, url: str, folder: Path) -> tuple[list[float], list[float]]:
    """Run the books of a whole sweep without Ray; return the seconds of each result, and of each trial's asking."""
    draw = np.random.default_rng(0)
    spool = Spool(print, lambda: None)
    results: list[float] = []
    asked: list[float] = []
    mirror = Mirror(url, plan, spool.write)
    with open_store(url) as database:
        store = PatientStore(database, spool)
        ledger = Ledger(
            plan, store, Searched(plan, Study(plan, mirror), print), folder / plan.name, None, lambda _: None
        )
        store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives, plan.trials))
        while True:
            start = time.perf_counter()
            job = ledger.next()
            if job is None:
                break
            ledger.started(job.trial)
            asked.append(time.perf_counter() - start)
            quality = float(draw.uniform(0.5, 1.0))
            for i in range(EVALUATIONS):
                start = time.perf_counter()
                ledger.reported(
                    job.trial,
                    Report(i + 1, EVALUATIONS, (i + 1) / EVALUATIONS, 1.0, {"retention": quality, **METRICS}),
                )
                results.append(time.perf_counter() - start)
            start = time.perf_counter()
            predictions = job.folder / "predictions"
            predictions.mkdir()
            np.save(predictions / "test.npy", np.zeros((1000, 2), np.float16))
            ledger.ended(job.trial, End("complete", {"retention": quality, **METRICS}, 1, 1.0, "movies", "teacher"))
            results.append(time.perf_counter() - start)
    mirror.close()
    return results, asked


def books(trials: int) -> None:
    """Bookkeeping: milliseconds a result, over all and over the last tenth, and results a second."""
    with temporary() as folder, databases(folder) as urls:
        for kind, url in urls.items():
            results, asked = drive(plan_of(trials), url, folder / kind)
            late = [seconds for each in (results, asked) for seconds in each[-len(each) // 10 :]]
            whole = sum(results) + sum(asked)
            print(
                f"{kind}: {trials} trials, {len(results)} results: {1000 * whole / len(results):.1f} ms a result with "
                f"asking ({1000 * statistics.mean(results):.1f} without; {1000 * statistics.mean(asked):.1f} a trial "
                f"asked, {1000 * max(asked):.0f} at most; last tenth: {1000 * sum(late) / (len(results) / 10):.1f} a "
                f"result), {len(results) / sum(results):.0f} results a second written"
            )


@contextmanager
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="limbeck-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    books(parser.parse_args().trials)

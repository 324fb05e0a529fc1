"""Print what a sweep's driver costs: bookkeeping a result, overhead of one-second trials, resuming 1,000 trials.

Not part of the test suite: `python tests/benchmarks/bench_cluster.py [books|trials|resume]…`; `--trials N` for shorter
ones. Trials are toys that sleep; the driver, Ray, Optuna and the databases are real. PostgreSQL where it is installed.
"""

import argparse
import io
import os
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))
sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[1] / "cluster"))
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])

import numpy as np
import torch
from cluster_toys import TOY, ToyStock, toy_train
from rich.console import Console

from limbeck.cache import Cache
from limbeck.cluster import session
from limbeck.cluster.configurations import Searched
from limbeck.cluster.ledger import Ledger
from limbeck.cluster.messages import End, Report
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.progress import Beat
from limbeck.cluster.spool import PatientStore, Spool
from limbeck.cluster.study import Study
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import Plan, parse_plan
from limbeck.storage import Storage
from limbeck.store import NewSweep, NewTrial, open_store
from limbeck.worker import Worker
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
ALONE = ToyStock(Cache(Path()), torch.device("cpu"), print)
"""Of a trial that asks nothing of it."""
METRICS = {f"loss/part {i}": 0.5 for i in range(12)}


def plan_of(trials: int, milliseconds: int = 1) -> Plan:
    """A search on two slots; a trial makes 10 updates of so many milliseconds."""
    changes = [f"search.trials={trials}", f"training.rows={milliseconds}", "training.updates=10"]
    changes += ["cluster.concurrent=2"]
    return parse_plan(PLAN, "bench.yaml", changes)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


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


def drive(plan: Plan, url: str, folder: Path, unfinished: int = 0) -> tuple[list[float], list[float]]:
    """Run the books of a whole sweep without Ray; return the seconds of each result, and of each trial's asking.

    As the driver does, it writes what waits four times a second.
    """
    draw = np.random.default_rng(0)
    spool = Spool(print, lambda: None)
    results: list[float] = []
    asked: list[float] = []
    beat = Beat(spool.settle, lambda: None)
    mirror = Mirror(url, plan, spool.write)
    with open_store(url) as database:
        store = PatientStore(database, spool)
        storage = Storage(folder / plan.name)
        ledger = Ledger(plan, store, Searched(plan, Study(plan, mirror), print), storage, None, lambda _: None)
        store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives, plan.trials))
        while True:
            start = time.perf_counter()
            job = ledger.next()
            if job is None:
                break
            ledger.started(job.trial)
            beat()
            asked.append(time.perf_counter() - start)
            quality = float(draw.uniform(0.5, 1.0))
            for i in range(EVALUATIONS):
                start = time.perf_counter()
                ledger.reported(
                    job.trial,
                    Report(i + 1, EVALUATIONS, (i + 1) / EVALUATIONS, 1.0, {"retention": quality, **METRICS}),
                )
                beat()
                results.append(time.perf_counter() - start)
            if plan.trials - len(asked) < unfinished:
                continue
            start = time.perf_counter()
            predictions = job.folder / "predictions"
            predictions.mkdir()
            np.save(predictions / "test.npy", np.zeros((1000, 2), np.float16))
            ledger.ended(job.trial, End("complete", {"retention": quality, **METRICS}, 1, 1.0, "movies", "teacher"))
            beat()
            results.append(time.perf_counter() - start)
        start = time.perf_counter()
        spool.flush()
        results[-1] += time.perf_counter() - start
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
                f"asking (last tenth: {1000 * sum(late) / (len(results) / 10):.1f}); reports that come at once: "
                f"{stream(url, [f'running {i}' for i in range(20)]):.0f} written a second"
            )


def stream(url: str, trials: Sequence[str], reports: int = 100) -> float:
    """Results a second that the database takes when trials report faster than that."""
    spool = Spool(print, lambda: None)
    beat = Beat(spool.settle, lambda: None)
    with open_store(url) as database:
        store = PatientStore(database, spool)
        store.add_trials("bench", [NewTrial(trial, 10_000 + i, "0", i) for i, trial in enumerate(trials)])
        start = time.perf_counter()
        for i in range(reports):
            for trial in trials:
                store.record_progress("bench", trial, i + 1, reports, 1.0, {"retention": 0.5, **METRICS})
                beat()
        spool.flush()
        return reports * len(trials) / (time.perf_counter() - start)


def overhead(trials: int) -> None:
    """One-second trials on two slots, against the time they take by themselves in a process that runs nothing else."""
    with temporary() as folder:
        plan = plan_of(trials, 100)
        times = []
        for seed in range(5):
            (folder / f"alone-{seed}").mkdir()
            start = time.perf_counter()
            toy_train(plan.spec({}, seed), Worker(folder / f"alone-{seed}"), ALONE)
            times.append(time.perf_counter() - start)
        alone = statistics.median(times)
        start = time.perf_counter()
        with session.connected(None):
            up = time.perf_counter()
            site = Site(folder / "runs", f"sqlite:///{folder}/runs/limbeck.db", folder / "cache")
            result = run_sweep(plan, site, console=quiet(), engine=TOY)
            seconds = time.perf_counter() - up
        ideal = trials * alone / 2
        print(
            f"{trials} trials of {alone:.3f} s on 2 slots: {seconds:.1f} s for {ideal:.0f} s of work, "
            f"{(seconds / ideal - 1):.1%} overhead (Ray itself: {up - start:.1f} s before); {result.standing.complete} "
            f"complete; driver's peak memory {peak():.0f} MiB"
        )


def resume(trials: int) -> None:
    """From the start of `--resume` to the first trial that runs, and to the end of the few that were left."""
    left = 10
    with temporary() as folder, databases(folder) as urls:
        for kind, url in urls.items():
            home = folder / kind
            plan = plan_of(trials)
            drive(plan, url, home, left)
            start = time.perf_counter()
            site = Site(home, url, folder / "cache")
            with noted(Ledger, "started") as times:
                result = run_sweep(plan, site, resume=True, console=quiet(), engine=TOY)
            print(
                f"{kind}: resume of {trials} trials, {left} left: {times[0] - start:.1f} s to the first trial (Ray's "
                f"start included), {time.perf_counter() - start:.1f} s in all; {result.standing.complete} complete"
            )


@contextmanager
def noted(owner: Any, name: str) -> Iterator[list[float]]:
    """Note when a method is called."""
    times: list[float] = []
    method = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        times.append(time.perf_counter())
        return method(*arguments)

    setattr(owner, name, call)
    try:
        yield times
    finally:
        setattr(owner, name, method)


@contextmanager
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="limbeck-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


BENCHES = {"books": books, "trials": overhead, "resume": resume}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", default=list(BENCHES))
    parser.add_argument("--trials", type=int)
    chosen = parser.parse_args()
    for name in chosen.benches:
        BENCHES[name](chosen.trials or (200 if name == "trials" else 1000))

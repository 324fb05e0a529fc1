"""Print what a sweep takes beside its training: many trials of nothing, and a few beside a plain nested sweep.

Not part of the test suite: `python tests/benchmarks/bench_sweep.py`. Trials are real ones of a toy student: they read
the cache, take one update, are examined, measured and stored. The plain sweep is the form that Ray documents: a Tune
function that fits a `TorchTrainer`, whose worker runs the very same trial. `--plan PLAN` runs a plan of yours instead
(where what its trials share is cached) and prints its wall clock over its training seconds divided by its slots, and
where the rest went: within trials (evaluations, checkpoints, test sets, latencies) and in slots that stood empty.
"""

import argparse
import io
import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from setting import default_cache

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[2] / "platform")])

from rich.console import Console

from limbeck.cache import Cache
from limbeck.cluster import session
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import Plan, load_plan, parse_plan
from limbeck.resources import find_plan
from limbeck.store import TrialRow, open_reader
from limbeck.supplies import Supplies
from limbeck.training import train
from limbeck.worker import Worker
from worlds import base_trial

SLOTS = 2


def site(folder: Path, cache: Path) -> Site:
    """A home of its own."""
    return Site(folder, f"sqlite:///{folder / 'limbeck.db'}", cache)


def toy_plan(folder: Path, name: str, trials: int) -> Plan:
    """Trials of one update that differ by their seed."""
    base = base_trial(folder / "world")
    base["training"] |= {"updates": 1, "evaluations": 1}
    plan = {"name": name, "base": base, "objective": {"retention": "max"}, "seeds": list(range(trials))}
    return parse_plan(json.dumps(plan), name)


def ours(plan: Plan, where: Site) -> tuple[float, float]:
    """Wall seconds of a sweep, and seconds of training divided by the slots."""
    wall, rows = swept(plan, where)
    return wall, sum(row.seconds for row in rows) / SLOTS


def swept(plan: Plan, where: Site) -> tuple[float, list[TrialRow]]:
    """Wall seconds of a sweep, and its trials."""
    began = time.perf_counter()
    result = run_sweep(plan, where, console=Console(file=io.StringIO()))
    wall = time.perf_counter() - began
    if result.state != "complete" or result.standing.failed:
        raise SystemExit(f"{plan.name}: {result.state}, {result.standing.failed} failed")
    with open_reader(where.database) as reader:
        return wall, reader.trials(plan.name)


def plain(plan: Plan, where: Site) -> tuple[float, float]:
    """The same by a Tune function that fits a TorchTrainer, each with one worker on one core."""
    import ray
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    specs = [plan.spec({}, seed).model_dump_json() for seed in plan.seeds]
    folder, cache = where.home, where.cache_root

    def worker(config: dict[str, Any]) -> None:
        from limbeck.trial import TrialSpec

        spec = TrialSpec.model_validate_json(config["spec"])
        result = train(spec, Worker(folder / "plain" / spec.id), Supplies(Cache(cache)))
        assert result is not None
        ray.train.report({"seconds": result.seconds, "retention": result.metrics["retention"]})

    def trial(config: dict[str, Any]) -> None:
        TorchTrainer(
            worker,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
            run_config=ray.train.RunConfig(storage_path=str(folder / "train"), callbacks=[TuneReportCallback()]),
        ).fit()

    tuner = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space={"spec": tune.grid_search(specs)},
        tune_config=tune.TuneConfig(max_concurrent_trials=SLOTS),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    began = time.perf_counter()
    results = tuner.fit()
    wall = time.perf_counter() - began
    if results.errors:
        raise SystemExit(f"the plain sweep failed: {results.errors[0]}")
    return wall, sum(result.metrics["seconds"] for result in results) / SLOTS


def of_a_plan(options: argparse.Namespace) -> None:
    """Run a plan of the user's and print its ratio."""
    plan = load_plan(find_plan(options.plan), options.set)
    with tempfile.TemporaryDirectory() as scratch:
        wall, rows = swept(plan, site(Path(scratch), default_cache().root))
    training, busy, first = 0.0, 0.0, min(row.started for row in rows if row.started)
    print("trial      state     updates  began   took  training")
    for row in rows:
        assert row.started and row.finished
        took = (row.finished - row.started).total_seconds()
        training, busy = training + row.seconds, busy + took
        began = (row.started - first).total_seconds()
        print(f"{row.trial:10} {row.state:9} {row.updates:7} {began:6.1f} {took:6.1f} {row.seconds:9.1f}")
    print(f"{plan.name}: wall clock {wall:.1f} s, training / slots {training / SLOTS:.1f} s:", end=" ")
    print(
        f"ratio {wall * SLOTS / training:.2f}; beside training within trials {(busy - training) / training:.2f},",
        end=" ",
    )
    print(f"slots empty {(wall * SLOTS - busy) / training:.2f} of it")


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    if options.plan:
        of_a_plan(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        where = site(folder / "runs", folder / "cache")
        # What trials share is made here, once, in a Ray of its own.
        first, _ = ours(toy_plan(folder, "first", 1), where)
        print(f"one trial with an empty cache, Ray's start and end with it: {first:.1f} s")
        cold, _ = ours(toy_plan(folder, "cold", options.trials), where)
        print(f"{options.trials} trials of one update, Ray's start and end with them: {cold:.1f} s")
        # As `limbeck sweep` starts it.
        with session.connected(None, fork=True):
            wall, training = ours(toy_plan(folder, "warm", options.trials), where)
            print(f"{options.trials} trials of one update on a running Ray: {wall:.1f} s", end=", ")
            print(f"{training:.1f} s of it training")
        few = toy_plan(folder, "few", options.few)
        # The plain sweep's workers are Ray's own, and so are ours beside it.
        with session.connected(None):
            ours_wall, ours_training = ours(few, where)
            plain_wall, plain_training = plain(replace(few, name="plain"), where)
        shutil.rmtree(where.home)
    mine, theirs = ours_wall - ours_training, plain_wall - plain_training
    print(f"{options.few} trials beside their training: {mine:.1f} s", end=", ")
    print(f"plain nested Tune + Train {theirs:.1f} s: {theirs / mine:.1f} times less")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--few", type=int, default=12, help="trials of the comparison with the plain sweep")
    parser.add_argument("--plan", help="a plan to run instead: a file, or a name in search_spaces/")
    parser.add_argument("--set", action="append", default=[], help="overrides of that plan")
    main(parser.parse_args())

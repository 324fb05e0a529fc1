"""A sweep whose driver is killed twice ends with the trials and the numbers of one that ran in peace."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from cluster_toys import TOY, ToyStock, toy_train
from drivers import driven

from conftest import PLAN
from limbeck.cluster.configurations import Searched
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.study import Study, Verdict
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.errors import UserError
from limbeck.plan import Plan, parse_plan
from limbeck.store import StoreError, TrialRow, open_reader
from limbeck.training import Worker

pytestmark = pytest.mark.slow
TEXT = (
    PLAN
    + """
vary:
  method.mask_rate: {uniform: [0.1, 0.5]}
search: {sampler: tpe, trials: 7, startup: 2, seed: 1}
cluster: {concurrent: 1}
"""
).replace("rows: 1,", "rows: 60,")
"""One trial at a time, so that the order of asking and telling is always the same; 0.5 s each."""


def driver(tmp_path: Path, *words: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    (tmp_path / "p.yaml").write_text(TEXT)
    return driven(str(tmp_path / "p.yaml"), str(tmp_path / "runs"), str(tmp_path / "cache"), *words)


def rows(site: Site) -> list[TrialRow]:
    try:
        with open_reader(site.database) as reader:
            return reader.trials("toy")
    except StoreError:
        return []


def wait_until(happened: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def can_disturb(process: psutil.Process) -> bool:
    """Say whether a process is alive, Ray's own agents aside: they mourn their raylet for a minute and do nothing."""
    try:
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return alive and "agent" not in " ".join(process.cmdline()).lower()
    except psutil.NoSuchProcess:
        return False


def under_way(site: Site, complete: int) -> bool:
    """So many trials have ended, and the next one has left its first checkpoint."""
    found = rows(site)
    states = [row.state for row in found]
    return states.count("complete") >= complete and any(row.state == "running" and row.updates > 0 for row in found)


def in_peace(plan: Plan, folder: Path) -> dict[str, dict[str, float]]:
    """Trial -> its numbers, without Ray and without disturbance."""
    found: dict[str, dict[str, float]] = {}
    searched = Searched(plan, Study(plan), print)
    quick = plan.spec({}, 0).training.model_copy(update={"rows": 1})
    while (configuration := searched.next()) is not None:
        searched.admit(configuration.name, [])
        spec = plan.spec(configuration.values, 0)
        (folder / spec.id).mkdir(parents=True)
        stock = ToyStock.__new__(ToyStock)
        result = toy_train(spec.model_copy(update={"training": quick}), Worker(folder / spec.id), stock)
        assert result
        found[spec.id] = result.metrics
        searched.ended(configuration.name, Verdict("complete", (result.metrics["retention"],)))
    return found


def test_killed_interrupted_and_brought_to_its_end(site: Site, tmp_path: Path, ray_here: None) -> None:
    with driver(tmp_path) as first:
        wait_until(lambda: under_way(site, complete=2))
        plan = parse_plan(TEXT, "p.yaml")
        with pytest.raises(UserError, match="toy: this sweep is being run by another process"):
            run_sweep(plan, site, engine=TOY, resume=True)
        family = psutil.Process(first.pid).children(recursive=True)
        assert family
        first.kill()
        wait_until(lambda: not any(map(can_disturb, family)), 30)
    killed = rows(site)
    assert [row.state for row in killed].count("running") == 1

    with driver(tmp_path, "--resume") as second:
        wait_until(lambda: under_way(site, complete=4))
        # As a terminal does it: every process of the group hears of Ctrl-C.
        os.killpg(second.pid, signal.SIGINT)
        said = second.communicate(timeout=60)[1]
        assert second.returncode == 130, said
    assert "of 7 trials have ended" in said and "limbeck sweep --resume toy" in said
    assert "Traceback" not in said and "ray" not in said.lower()
    with open_reader(site.database) as reader:
        assert reader.sweep("toy").state == "interrupted"

    result = run_sweep(plan, site, engine=TOY, resume=True)
    assert (result.state, result.standing.complete, result.exit_code) == ("complete", 7, 0)
    compare(plan, site, killed, in_peace(plan, tmp_path / "peace"))


def compare(plan: Plan, site: Site, killed: list[TrialRow], expected: dict[str, dict[str, float]]) -> None:
    found = {row.trial: row for row in rows(site)}
    assert list(found) == list(expected), "the same trials in the same order"
    for trial, numbers in expected.items():
        for name in ("retention", "test/retention", "loss/total"):
            assert found[trial].metrics[name] == pytest.approx(numbers[name]), (trial, name)
    for row in killed:
        now = found[row.trial]
        if row.state == "complete":
            assert (now.finished, now.metrics) == (row.finished, row.metrics), "what had ended is kept"
        else:
            assert now.metrics["resumed"] == 1, "what ran went on from its last checkpoint"
    assert sum(row.metrics["resumed"] for row in found.values()) == 2
    mirror = Mirror(site.database, plan)
    assert [trial.state.name for trial in mirror.trials()] == ["COMPLETE"] * 7
    mirror.close()

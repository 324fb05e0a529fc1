"""Faults in the middle of sweeps: what comes out is what an undisturbed run gives."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_toys import TOY, ToyStock, fills_up, toy_sizes, undisturbed
from disturbance import kill_once, left_behind, meanwhile, outage, strike
from rich.console import Console

from conftest import WORKERS_PATH
from limbeck.cluster import spool
from limbeck.cluster.engine import Engine
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.sweep import Site, SweepResult, run_sweep
from limbeck.errors import UserError
from limbeck.plan import Plan
from limbeck.store import open_reader
from postgres import Server

MakePlan = Callable[..., Plan]
GRID = """
vary:
  method.mask_rate: {choice: [0.1, 0.2, 0.3, 0.4]}
search: {sampler: grid}
"""
PAIR = "seeds: [0, 1]\ncluster: {workers: 2, cpus: 1}\n"


class Run:
    """A sweep that was run, what it said, and what it left."""

    def __init__(
        self, plan: Plan, site: Site, engine: Engine = TOY, *, resume: bool = False, out: io.StringIO | None = None
    ) -> None:
        out = out or io.StringIO()
        self.result: SweepResult = run_sweep(
            plan, site, resume=resume, console=Console(width=200, file=out), engine=engine
        )
        self.said = out.getvalue()
        with open_reader(site.database) as reader:
            self.rows = reader.trials(plan.name)
            self.curves = reader.metrics(plan.name, names="retention")

    def compare(self, folder: Path, ranks: int = 1) -> None:
        """The same trials with the same numbers as in peace, and every evaluation is written down once."""
        assert (self.result.state, self.result.exit_code) == ("complete", 0)
        for row in self.rows:
            for name, value in undisturbed(row, folder / row.trial, ranks).items():
                assert row.metrics[name] == pytest.approx(value, rel=1e-5), (row.trial, name)
        assert set(self.curves.groupby("trial")["updates"].apply(tuple)) == {(2, 4, 6, 8)}


def clean(site: Site) -> None:
    """Nothing stays behind, once Ray has tidied up."""
    end = time.monotonic() + 60
    while found := left_behind(site, "toy"):
        assert time.monotonic() < end, found
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("more", "rank", "ranks", "said"),
    [
        (GRID, 0, 1, "its process died; it goes on from its last checkpoint"),
        (PAIR, 1, 2, "a worker's process died; all go on from the last checkpoint"),
    ],
    ids=["actor", "worker of a group"],
)
def test_a_killed_process_costs_nothing_but_time(
    more: str, rank: int, ranks: int, said: str, make_plan: MakePlan, site: Site, tmp_path: Path, ray_here: None
) -> None:
    plan, killed = make_plan(more, "training.rows=60"), []
    with meanwhile(kill_once(site.home / "toy", rank, killed)):
        run = Run(plan, site)
    (trial,) = killed
    assert f"trial {trial.name}: {said}" in run.said
    assert {row.trial: row.metrics["resumed"] for row in run.rows}[trial.name] == 1
    run.compare(tmp_path / "peace", ranks)
    clean(site)


@pytest.mark.slow
def test_a_full_disk_breaks_the_sweep_off_and_loses_no_trial(
    make_plan: MakePlan, site: Site, tmp_path: Path, ray_here: None
) -> None:
    plan, engine = make_plan(GRID), Engine(ToyStock, fills_up, toy_sizes)
    site.home.mkdir()
    (site.home / "full").touch()
    with pytest.raises(UserError, match="the disk is full: make room, and go on with limbeck sweep --resume"):
        Run(plan, site, engine)
    with open_reader(site.database) as reader:
        assert reader.sweep("toy").state == "interrupted"
        assert not [row for row in reader.trials("toy") if row.state == "failed"]
    (site.home / "full").unlink()
    run = Run(plan, site, engine, resume=True)
    assert max(row.metrics["resumed"] for row in run.rows) == 1
    run.compare(tmp_path / "peace")
    clean(site)


FILLED = """
import sys
from pathlib import Path
import numpy as np, torch
from limbeck.checkpoint import newest, save
from limbeck.cluster.mishaps import disk_is_full
folder = Path(sys.argv[1])
save(folder / "checkpoints", 1, {"x": torch.zeros(1000)}, {"step": 1})
def fails(act):
    try:
        act()
    except Exception as error:
        return disk_is_full(error, folder)
print(fails(lambda: save(folder / "checkpoints", 2, {"x": torch.zeros(10**6)}, {"step": 2})))
print(newest(folder / "checkpoints")[1], len(list((folder / "checkpoints").iterdir())))
(folder / "rest").write_bytes(b"")
print(fails(lambda: (folder / "rest").write_bytes(bytes(10**6))))
print(fails(lambda: np.save(folder / "a.npy", np.zeros(10**6))))
print(disk_is_full(ValueError("no"), folder), disk_is_full(PermissionError(13, "no"), folder))
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_known_for_that(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=256k none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable]
    if subprocess.run([*words, "print()"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a small disk")
    environment = {**os.environ, "PYTHONPATH": WORKERS_PATH}
    run = subprocess.run([*words, FILLED], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["True", "{'step': 1} 1", "True", "True", "False False"]


TEN = """
vary: {method.mask_rate: {uniform: [0.1, 0.4]}}
search: {sampler: random, trials: 10, seed: 1}
"""


# A connection that the server broke off is closed by nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_a_database_that_is_away_for_a_while_gets_everything_later(
    make_plan: MakePlan,
    site: Site,
    postgresql: Server,
    tmp_path: Path,
    ray_here: None,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.5)
    plan = make_plan(TEN, f"training.rows={60 if seconds < 10 else 800}")
    there = Site(site.home, postgresql.new_database("outage"), site.cache_root)
    marks: list[float] = []
    out, missing = io.StringIO(), "Trials go on; what they tell is written when the database answers"
    with meanwhile(outage(postgresql, site.home / "toy", seconds, marks, lambda: missing in out.getvalue())):
        run = Run(plan, there, out=out)
    assert len(marks) == 2 and len(run.rows) == 10
    assert missing in run.said
    assert "writes that waited are done" in run.said
    run.compare(tmp_path / "peace")
    during = [row for row in run.rows if row.finished and marks[0] < row.finished.timestamp() < marks[1]]
    assert during, "what ended meanwhile is known to have ended then"
    mirror = Mirror(there.database, plan)
    assert [trial.state.name for trial in mirror.trials()] == ["COMPLETE"] * 10
    mirror.close()
    clean(site)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_trials_survive_random_kills(
    make_plan: MakePlan, site: Site, tmp_path: Path, ray_here: None
) -> None:
    more = "vary: {method.mask_rate: {uniform: [0.1, 0.5]}}\nsearch: {sampler: tpe, trials: 100}\nseeds: [0, 1]\n"
    plan, kills = make_plan(more, "training.rows=150"), []
    with meanwhile(strike(site.home / "toy", 0, kills)):
        run = Run(plan, site)
    assert len(run.rows) == 200 and len(kills) > 20, len(kills)
    run.compare(tmp_path / "peace")
    assert sum(row.metrics["resumed"] > 0 for row in run.rows) > 10
    clean(site)

"""Sweeps whose home is an object store: nothing on a node's own disk is needed to go on or to read."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cluster_toys import TOY, undisturbed
from disturbance import meanwhile, running
from drivers import driven

from conftest import PLAN, WORKERS_PATH
from limbeck.cluster import sweep
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.errors import UserError
from limbeck.plan import Plan
from limbeck.storage import Storage, _store, storage_at
from limbeck.store import NewSweep, StoreError, TrialRow, open_reader, open_store
from limbeck.yaml_strict import dump_yaml
from object_store import object_store
from worlds import base_trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
HOME = "s3://runs/team"
TEXT = PLAN.replace("rows: 1,", "rows: 100,") + (
    "vary: {method.mask_rate: {choice: [0.1, 0.2, 0.3, 0.4]}}\nsearch: {sampler: grid}\ncluster: {concurrent: 1}\n"
)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    with object_store("runs") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        _store.cache_clear()
        yield environment
    _store.cache_clear()


def driver(tmp_path: Path, database: str, machine: str, *words: str) -> AbstractContextManager["subprocess.Popen[str]"]:
    """A driver with Ray on a machine whose disk holds nothing of another's."""
    (tmp_path / "p.yaml").write_text(TEXT)
    return driven(str(tmp_path / "p.yaml"), HOME, str(tmp_path / machine), "--database", database, *words)


def rows(database: str) -> list[TrialRow]:
    try:
        with open_reader(database) as reader:
            return reader.trials("toy")
    except StoreError:
        return []


def lose_a_node(home: Storage, lost: list[str]) -> Callable[[threading.Event], None]:
    """Kill the process of the first trial that is under way, and take its disk away."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.02):
            for trial, pid in running(home.folder):
                if not home.exists(trial / "state-0.json"):
                    continue
                os.kill(pid, signal.SIGKILL)
                shutil.rmtree(trial)
                lost.append(trial.name)
                return

    return act


@pytest.mark.soak
def test_a_sweep_goes_on_on_another_machine(keys: Mapping[str, str], tmp_path: Path) -> None:
    database, lost = f"sqlite:///{tmp_path}/limbeck.db", []
    home = storage_at(HOME, tmp_path / "one").below("toy")
    with driver(tmp_path, database, "one") as first, meanwhile(lose_a_node(home, lost)):
        while not (
            [row.state for row in rows(database)].count("complete") >= 1
            and any(row.state == "running" and row.updates > 0 for row in rows(database))
        ):
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.1)
        first.send_signal(signal.SIGINT)
        said = first.communicate()[1]
        assert first.returncode == 130, said
    assert f"trial {lost[0]}: its process died; it goes on from its last checkpoint" in said
    with driver(tmp_path, database, "two", "--resume") as second:
        said = second.communicate()[1]
        assert second.returncode == 0, said

    found = rows(database)
    assert [row.state for row in found] == ["complete"] * 4
    for row in found:
        for name, value in undisturbed(row, tmp_path / "peace" / row.trial).items():
            assert row.metrics[name] == pytest.approx(value), (row.trial, name)
        assert row.folder == f"{HOME}/toy/{row.trial}"
    assert sum(row.metrics["resumed"] for row in found) == 2, "one after the kill, one on the other machine"
    with open_reader(database) as reader:
        assert reader.predictions("toy", found[0].trial, "test") is not None
    for machine in ("one", "two"):
        left = storage_at(HOME, tmp_path / machine).below("toy").folder
        assert not [path for path in left.glob("*/*") if path.name != ".lock"] or machine == "one"
    check = Storage(tmp_path / "look", f"{HOME}/toy")
    check.fetch(check.folder)
    assert {path.name for path in check.folder.iterdir()} == {row.trial for row in found}, "nothing of Ray's is left"


def test_a_sweep_that_may_run_elsewhere_is_left_alone(
    keys: Mapping[str, str], make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan, home = make_plan(""), storage_at(HOME, tmp_path / "cache")
    site = Site(home.folder, f"sqlite:///{tmp_path}/limbeck.db", tmp_path / "cache", None, home.uri)
    with open_store(site.database) as store:
        store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives, plan.trials))
    with pytest.raises(
        UserError, match=rf"toy: it was heard of . s ago, so another process may be running it in {HOME};"
    ):
        run_sweep(plan, site, resume=True, engine=TOY)


def test_a_sweep_that_may_run_from_another_home_is_left_alone(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    plan, database, now = make_plan(""), f"sqlite:///{tmp_path}/limbeck.db", time.time()
    here, there = (Site(tmp_path / name, database, tmp_path / "cache") for name in ("here", "there"))
    for site in (here, there):
        (site.home / plan.name).mkdir(parents=True)
    home = sweep._home(here, plan.name)
    assert sweep._home(here, plan.name) == home
    with open_store(database, clock=lambda: now) as store:
        store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives, plan.trials))
        assert sweep._earlier(plan, there, sweep._home(there, plan.name)) == [], "an older one noted no home"
        store.add_notes(plan.name, {"home": home})
        assert sweep._earlier(plan, here, home) == [], "its lock says that it does not run"
        left_alone = rf"toy: it was heard of . s ago, so another process may be running it in {here.home}; .* in \d\d s"
        with pytest.raises(UserError, match=left_alone):
            run_sweep(plan, there, resume=True, engine=TOY)
        (here.home / plan.name / ".home").unlink()
        with pytest.raises(UserError, match="another process may be running it"):
            # The same path on a machine of its own.
            run_sweep(plan, here, resume=True, engine=TOY)
        now -= 100
        store.heartbeat(plan.name)
        assert sweep._earlier(plan, there, sweep._home(there, plan.name)) == [], "its driver has died"
        now += 100
        store.set_sweep_state(plan.name, "interrupted")
        assert sweep._earlier(plan, there, sweep._home(there, plan.name)) == []


@pytest.mark.soak
def test_commands_work_on_it(keys: Mapping[str, str], tmp_path: Path) -> None:
    base = base_trial(tmp_path)
    base["teacher"] |= {"epochs": 4}
    base["training"] |= {"updates": 4, "evaluations": 2}
    (tmp_path / "mine.yaml").write_text(dump_yaml({"name": "mine", "base": base}))
    at = ["--home", HOME, "--database", f"sqlite:///{tmp_path}/limbeck.db"]
    commands = [
        ["sweep", "mine.yaml", *at],
        ["export", "mine", "--to", "best", *at],
        ["export", "mine", "--to", "b", *at[2:]],
    ]
    run = subprocess.run(
        [sys.executable, str(HERE / "commands.py"), json.dumps(commands)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": WORKERS_PATH, "LIMBECK_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    swept, exported, lost = json.loads(run.stdout)
    assert swept[0] == 0 and "limbeck export mine" in swept[1], swept
    assert exported[0] == 0, exported
    assert (tmp_path / "best" / "model.safetensors").is_file()
    assert lost[0] == 2 and f"the student lies in an object store: give --home {HOME}" in lost[2]
    assert not list((storage_at(HOME, tmp_path / "cache").folder / "mine").glob("*/student")), "no copies stay"
    assert keys["AWS_SECRET_ACCESS_KEY"] not in run.stdout

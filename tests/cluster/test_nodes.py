"""Sweeps over several nodes: trials spread, sweeps stay apart, and a node that goes takes nothing with it."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cluster_toys import undisturbed
from disturbance import meanwhile, running
from drivers import driven
from local_cluster import LocalCluster, local_cluster

from conftest import PLAN, WORKERS_PATH
from limbeck.cluster.sweep import Site
from limbeck.store import StoreError, TrialRow, open_reader
from postgres import Server

pytestmark = pytest.mark.slow
GRID = "vary: {method.mask_rate: {choice: [0.1, 0.2, 0.3, 0.4]}}\nsearch: {sampler: grid}\n"
SEARCH = "vary: {method.mask_rate: {uniform: [0.1, 0.5]}}\nsearch: {sampler: tpe, trials: 4, startup: 2}\n"


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[LocalCluster]:
    with local_cluster(PYTHONPATH=WORKERS_PATH) as found:
        yield found


@pytest.fixture
def cluster(running_cluster: LocalCluster) -> LocalCluster:
    """Two nodes of one CPU each, whatever became of earlier ones."""
    while len(running_cluster.living()) < 3:
        running_cluster.add_node({"CPU": 1})
    return running_cluster


def driver(
    cluster: LocalCluster, site: Site, more: str, milliseconds: int
) -> AbstractContextManager["subprocess.Popen[str]"]:
    """A driver on the head."""
    name = f"toy-{len(more)}"
    plan = site.cache_root.parent / f"{name}.yaml"
    plan.write_text(PLAN.replace("name: toy", f"name: {name}").replace("rows: 1,", f"rows: {milliseconds},") + more)
    words = (str(plan), str(site.home), str(site.cache_root), "--database", site.database, "--address", cluster.gcs)
    return driven(*words, environment=cluster.environment(cluster.token))


def ended(process: "subprocess.Popen[str]") -> str:
    """Wait for a driver that has nothing to complain of; return what it said."""
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return said


def compare(rows: list[TrialRow], folder: Path, ranks: int = 1) -> None:
    for row in rows:
        for name, value in undisturbed(row, folder / row.trial, ranks).items():
            assert row.metrics[name] == pytest.approx(value, rel=1e-5), (row.trial, name)


def nodes_of(rows: list[TrialRow], rank: int = 0) -> set[str]:
    return {(Path(str(row.folder)) / f"node-{rank}").read_text() for row in rows}


def watch(database: str, seen: set[int], states: set[str]) -> Callable[[threading.Event], None]:
    """Read as the pages of a dashboard do, all the while."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.1):
            try:
                with open_reader(database) as reader:
                    for sweep in reader.sweeps():
                        # In this order: a trial may begin between the two.
                        found = reader.metrics(sweep.name)
                        frame = reader.trial_frame(sweep.name)
                        assert set(found["trial"]) <= set(frame["trial"])
                        seen.add(len(frame))
                        states.add(sweep.state)
            except StoreError:
                # Nothing has been written yet.
                continue

    return act


def test_two_sweeps_share_the_nodes_and_one_database(
    cluster: LocalCluster, site: Site, tmp_path: Path, postgresql: Server
) -> None:
    there = Site(site.home, postgresql.new_database("two"), site.cache_root)
    seen: set[int] = set()
    states: set[str] = set()
    alone = "cluster: {concurrent: 1}\n"
    with (
        meanwhile(watch(there.database, seen, states)),
        driver(cluster, there, GRID + alone, 30) as first,
        driver(cluster, there, SEARCH + alone, 30) as second,
    ):
        said = [ended(first), ended(second)]
    assert all("4/4 trials" in words for words in said), said
    with open_reader(there.database) as reader:
        sweeps = reader.sweeps()
        rows = [row for sweep in sweeps for row in reader.trials(sweep.name)]
    assert [sweep.state for sweep in sweeps] == ["complete"] * 2 and len(rows) == 8
    compare(rows, tmp_path / "peace")
    # What both need was made by one of them, once for all nodes.
    assert sum(len(sweep.notes["prepared"]) for sweep in sweeps) == 1
    assert "running" in states and len(seen) > 1, "readers saw them grow"
    assert all(b"glibc.malloc.hugetlb=1" in (Path(str(row.folder)) / "environment").read_bytes() for row in rows)


def take_away(
    cluster: LocalCluster, folder: Path, rank: int, notice: bool, gone: list[str]
) -> Callable[[threading.Event], None]:
    """Kill the node of the first trial that is under way."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.02):
            for trial, _ in running(folder, rank):
                node = (trial / f"node-{rank}").read_text()
                (address,) = [at for at, found in cluster.living().items() if found == node]
                if notice:
                    cluster.drain(address, 30)
                cluster.kill_node(address)
                gone.extend([trial.name, node])
                return

    return act


PAIR = "vary: {method.mask_rate: {choice: [0.1, 0.2]}}\nsearch: {sampler: grid}\n"
GROUP = "seeds: [0, 1]\ncluster: {workers: 2, cpus: 1}\n"


@pytest.mark.parametrize(
    ("more", "ranks", "notice"),
    [
        (GRID, 1, False),
        pytest.param(PAIR, 1, True, marks=pytest.mark.soak),
        pytest.param(GROUP, 2, False, marks=pytest.mark.soak),
    ],
    ids=["node", "node after a notice", "node of a group"],
)
def test_what_ran_on_a_lost_node_goes_on_elsewhere(
    cluster: LocalCluster, site: Site, tmp_path: Path, more: str, ranks: int, notice: bool
) -> None:
    if ranks > 1:
        # What is left must have room for the group.
        cluster.add_node({"CPU": 1})
    # To give notice takes a command of its own; the trial must still run by then.
    milliseconds = 1500 if notice else 100
    gone: list[str] = []
    folder = site.home / f"toy-{len(more)}"
    with (
        driver(cluster, site, more, milliseconds) as process,
        meanwhile(take_away(cluster, folder, ranks - 1, notice, gone)),
    ):
        said = ended(process)
    trial, node = gone
    with open_reader(site.database) as reader:
        rows = reader.trials(folder.name)
    assert {row.state for row in rows} == {"complete"}
    assert f"trial {trial}: " in said and "on from" in said
    (lost,) = [row for row in rows if row.trial == trial]
    assert lost.metrics["resumed"] >= 1
    assert all(node not in nodes_of([lost], rank) for rank in range(ranks))
    compare(rows, tmp_path / "peace", ranks)
    assert len(nodes_of(rows) | {node}) > 1, "trials spread over nodes of one CPU each"

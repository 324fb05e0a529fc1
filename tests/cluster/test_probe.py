"""What the nodes of a cluster tell, and what that means."""

from pathlib import Path

import pytest
import ray

from limbeck.cluster.probe import Finding, Sight, ask_nodes, findings, look, refuse, versions, where_trials_run
from limbeck.errors import UserError
from limbeck.storage import Storage

MINE = {"python": "3.11", "limbeck": "1.0", "ray": "2.60.0"}
GIB = 2**30


def wrong(found: list[Finding]) -> list[str]:
    return [f"{finding.name}: {finding.what}" for finding in found if not finding.fine]


def test_nodes_that_agree_are_told_in_a_line_a_subject() -> None:
    sights = {name: Sight(free_bytes=5 * GIB, versions=MINE) for name in ("a", "b")}
    found = findings("/shared", sights, MINE)
    assert wrong(found) == []
    assert [f"{finding.name}: {finding.what}" for finding in found] == [
        "storage: /shared: seen and written by all 2 nodes",
        "disk: /shared: 5 GiB free",
        "versions: all 2 nodes: python 3.11, limbeck 1.0, ray 2.60.0",
    ]
    refuse(found)


def test_each_thing_that_is_wrong_names_its_node_and_the_way_out() -> None:
    sights = {
        "a": Sight(storage="it sees another folder under this name", free_bytes=5 * GIB, versions=MINE),
        "b": Sight(database="db: no connection", free_bytes=2**20, versions={**MINE, "ray": "2.59.0"}),
        "c": Sight(lost="No module named 'limbeck'"),
    }
    found = findings("/shared", sights, MINE)
    assert wrong(found) == [
        "nodes: c: No module named 'limbeck'",
        "storage: a: /shared: it sees another folder under this name",
        "database: b: db: no connection",
        "disk: /shared: 1 MiB free, and a sweep wants 1 GiB",
        "versions: b: ray 2.59.0 (here 2.60.0)",
    ]
    with pytest.raises(UserError) as error:
        refuse(found)
    assert len(error.value.problems) == 5
    assert "mount one storage at /shared on every node" in str(error.value)


def test_a_node_sees_only_a_storage_that_is_the_drivers(tmp_path: Path) -> None:
    folder, home = tmp_path / ".probe", Storage(tmp_path)
    assert look(home, folder, "word", "n", None).storage == "it does not see what the driver writes there"
    folder.mkdir()
    (folder / "driver").write_text("other")
    assert look(home, folder, "word", "n", None).storage == "it sees another folder under this name"
    (folder / "driver").write_text("word")
    sight = look(home, folder, "word", "n", "postgresql://u:s3cret@127.0.0.1:1/db")
    assert (sight.storage, sight.versions) == ("", versions())
    assert (folder / "n").read_text() == "word" and sight.free_bytes > 0
    assert "cannot be used" in sight.database and "s3cret" not in sight.database


def test_only_nodes_with_cpus_run_trials() -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": True, "Resources": {}}]
    nodes += [{"Alive": False, "Resources": {"CPU": 2.0}}]
    assert where_trials_run(nodes) == nodes[:1]


@pytest.mark.slow
def test_a_real_node_answers_and_leaves_nothing_behind(tmp_path: Path, ray_here: None) -> None:
    nodes = where_trials_run(ray.nodes())
    home = Storage(tmp_path / "runs")
    sights = ask_nodes(home, "sqlite:///anywhere.db", nodes)
    assert wrong(findings("/runs", sights, versions())) == []
    assert list((tmp_path / "runs").iterdir()) == []
    gone = [{**nodes[0], "NodeID": "0" * 56}]
    (sight,) = ask_nodes(home, "sqlite:///anywhere.db", gone).values()
    assert sight.lost
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="runs cannot be kept here"):
        ask_nodes(Storage(tmp_path / "file"), "sqlite:///anywhere.db", nodes)

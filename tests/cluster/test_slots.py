import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from limbeck.cluster import slots as module
from limbeck.cluster.slots import check_disk, slots
from limbeck.errors import UserError
from limbeck.sections import ClusterConfig


@pytest.mark.parametrize(
    ("cluster", "nodes", "expected"),
    [
        ({}, [{"CPU": 2}], 2),
        ({"concurrent": 1}, [{"CPU": 2}], 1),
        ({"concurrent": 5}, [{"CPU": 2}], 2),
        ({"cpus": 0.1}, [{"CPU": 1}], 10),
        ({"cpus": 2}, [{"CPU": 3}, {"CPU": 3}], 2),
        ({"gpus": 0.25}, [{"CPU": 16, "GPU": 1}], 4),
        ({"gpus": 1}, [{"CPU": 2, "GPU": 8}], 2),
        ({"workers": 2}, [{"CPU": 2}], 1),
        ({"workers": 2}, [{"CPU": 3}, {"CPU": 2}], 2),
    ],
)
def test_as_many_trials_as_nodes_hold_whole_workers(
    cluster: dict[str, float], nodes: list[dict[str, float]], expected: int
) -> None:
    assert slots(ClusterConfig(**cluster), nodes) == expected


@pytest.mark.parametrize(
    ("cluster", "nodes", "said"),
    [
        ({"cpus": 4}, [{"CPU": 2}], "cluster.cpus: a trial takes 4 CPUs, and there are 2"),
        ({"workers": 3}, [{"CPU": 2}], "cluster.cpus: a trial takes 3 workers of 1 CPUs, and there are 2"),
        (
            {"cpus": 3},
            [{"CPU": 2}, {"CPU": 2}],
            "cluster.cpus: a worker takes 3 CPUs, and the largest of 2 nodes has 2",
        ),
        ({"workers": 3, "cpus": 2}, [{"CPU": 3}] * 2, "cluster: 3 workers do not fit on 2 nodes side by side"),
        (
            {"cpus": 4, "gpus": 1},
            [{"CPU": 2}],
            "cluster.cpus: a trial takes 4 CPUs, and there are 2\ncluster.gpus: a trial takes 1 GPUs, and there are 0",
        ),
    ],
)
def test_a_plan_that_never_fits_is_refused(cluster: dict[str, float], nodes: list[dict[str, float]], said: str) -> None:
    with pytest.raises(UserError) as error:
        slots(ClusterConfig(**cluster), nodes)
    assert str(error.value) == said


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path / "new")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * 2**20))
    with pytest.raises(UserError, match="only 10 MiB are free"):
        check_disk(tmp_path)


def test_looking_at_a_disk_leaves_nothing_and_minds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".probe").mkdir()
    check_disk(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", lambda path, _: fills_up(path))
    with pytest.raises(UserError, match="runs cannot be kept here: No space left on device"):
        check_disk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".probe"]


def fills_up(path: Path) -> None:
    path.touch()
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_home_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="runs cannot be kept here"):
        check_disk(tmp_path / "file" / "runs")

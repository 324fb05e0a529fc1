"""What travels to a cluster, and what does not."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ray._private import ray_constants
from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

import limbeck
from limbeck.cluster.upload import KEPT, LIMIT_BYTES, PLAN_FILE, Upload, keep, pack
from limbeck.errors import UserError
from limbeck.plan import Plan, parse_plan

FILES = """
name: mine
base:
  task: {files: {train: data/train.csv, test: /shared/test.csv}}
  teacher: {base: encoder}
  method: kd
vary:
  teacher.checkpoint: {choice: [ready, nyu/on-the-hub]}
search: {sampler: grid}
"""


def entries(upload: Upload) -> dict[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(upload.data))
    return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path / "data" / "train.csv", b"text,label\n")
    write(tmp_path / "data" / "secret.csv")
    write(tmp_path / "encoder" / "config.json")
    write(tmp_path / "encoder" / ".git" / "HEAD")
    write(tmp_path / "encoder" / "__pycache__" / "a.pyc")
    write(tmp_path / "ready" / "model.safetensors")
    write(tmp_path / ".env", b"PASSWORD=1")
    return tmp_path


def plan(text: str = FILES) -> Plan:
    return parse_plan(text.replace("  teacher: {base: encoder}\n", ""), "p.yaml")


def test_the_limit_is_what_ray_takes() -> None:
    assert min(ray_constants.DASHBOARD_CLIENT_MAX_SIZE, GCS_STORAGE_MAX_SIZE) == LIMIT_BYTES


def test_the_package_travels_whole_and_runs_from_the_archive(tmp_path: Path) -> None:
    found = entries(pack(None, tmp_path))
    root = Path(limbeck.__file__).parent
    ours = {f"limbeck/{path.relative_to(root).as_posix()}" for path in root.rglob("*.py")}
    assert {name for name in ours if "_shipped" not in name} | {"limbeck/py.typed"} == set(found)
    assert found["limbeck/__init__.py"] == (root / "__init__.py").read_bytes()


def test_what_the_plan_names_beside_itself_travels_and_nothing_else(project: Path) -> None:
    found = entries(pack(plan(), project))
    extra = {name for name in found if not name.startswith("limbeck/")}
    assert extra == {PLAN_FILE, "data/train.csv", "ready/model.safetensors"}
    assert parse_plan(found[PLAN_FILE].decode(), "there").text == plan().text
    base = parse_plan(FILES.split("vary")[0], "p.yaml")
    assert "encoder/config.json" in entries(pack(base, project))
    assert not [name for name in entries(pack(base, project)) if ".git" in name or "__pycache__" in name]


def test_equal_content_makes_equal_bytes(project: Path) -> None:
    first = pack(plan(), project)
    os.utime(project / "data" / "train.csv", (0, 0))
    assert pack(plan(), project).data == first.data


def test_a_file_that_is_not_here_or_lies_elsewhere_is_told(project: Path) -> None:
    (project / "data" / "train.csv").unlink()
    with pytest.raises(UserError, match=r"^base\.task\.files\.train: no such file here: data/train\.csv$"):
        pack(plan(), project)
    write(project / "elsewhere.csv")
    (project / "deeper").mkdir()
    with pytest.raises(UserError, match=r"\.\./elsewhere\.csv lies outside"):
        pack(plan(FILES.replace("data/train.csv", "../elsewhere.csv")), project / "deeper")


def test_what_came_with_a_job_is_kept_under_one_path_for_equal_content(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    kept = keep(plan(), project, home)
    assert kept.parent == home / KEPT
    found = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert found == {"data/train.csv", "ready/model.safetensors"}
    os.utime(project / "data" / "train.csv", (0, 0))
    assert keep(plan(), project, home) == kept
    write(project / "data" / "train.csv", b"text,label\nmore,1\n")
    changed = keep(plan(), project, home)
    assert changed != kept and len([*(home / KEPT).iterdir()]) == 2
    assert (kept / "data" / "train.csv").read_bytes() == b"text,label\n"


def test_a_plan_that_names_no_files_keeps_none(tmp_path: Path, make_plan: Callable[..., Plan]) -> None:
    assert keep(make_plan(), tmp_path, tmp_path / "runs") == tmp_path
    assert not (tmp_path / "runs").exists()


def test_an_archive_too_large_is_refused_with_the_largest_files(project: Path, make_plan: Callable[..., Plan]) -> None:
    write(project / "data" / "train.csv", os.urandom(3 * 2**20))
    write(project / "ready" / "model.safetensors", os.urandom(2**20))
    with pytest.raises(UserError) as error:
        pack(plan(), project, limit_bytes=2 * 2**20)
    said = [str(problem) for problem in error.value.problems]
    assert "larger than the 2 MiB that a cluster takes" in said[0] and "absolute path" in said[0]
    assert said[1:3] == ["  data/train.csv: 3.0 MiB", "  ready/model.safetensors: 1.0 MiB"]
    assert len(said) == 6
    assert "MiB in" in pack(make_plan(), project).words

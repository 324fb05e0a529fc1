"""The cache: built once, by one process, and again when damaged."""

import json
import multiprocessing
from pathlib import Path

import pytest

from limbeck.cache import Cache, broken, seal


def test_what_was_built_is_found_again(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "a.txt").write_text("once")

    first, second = Cache(tmp_path), Cache(tmp_path)
    folder = first.folder("things", {"n": 1}, build)
    assert second.folder("things", {"n": 1}, build) == folder
    assert (first.misses, first.hits) == ({"things": 1}, {})
    assert (second.misses, second.hits) == ({}, {"things": 1})
    assert first.folder("things", {"n": 2}, build) != folder


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Cache(tmp_path).folder("things", 1, build)
    assert [p for p in (tmp_path / "things").iterdir() if p.suffix != ".lock"] == []


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "seal"])
def test_damage_is_seen_and_repaired(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def build(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"0123456789")

    folder = Cache(tmp_path).folder("things", 1, build)
    path = folder / "a.bin"
    match damage:
        case "cut":
            path.write_bytes(b"01234")
        case "flip":
            path.write_bytes(b"0123456780")
        case "gone":
            path.unlink()
        case "seal":
            (folder / "seal.json").write_text("{")
    assert broken(folder) is not None
    assert (Cache(tmp_path).folder("things", 1, build) / "a.bin").read_bytes() == b"0123456789"
    assert "built again" in caplog.text


def _build_slowly(root: str, log: str) -> None:
    def build(folder: Path) -> None:
        import time

        with Path(log).open("a") as file:
            file.write("built\n")
        time.sleep(0.3)
        (folder / "a").write_text("x")

    Cache(Path(root)).folder("things", 1, build)


def test_two_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    both = [context.Process(target=_build_slowly, args=(str(tmp_path / "cache"), str(log))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert log.read_text() == "built\n"


def test_a_seal_keeps_facts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    seal(tmp_path, key=[1, "two"])
    assert json.loads((tmp_path / "seal.json").read_text())["key"] == [1, "two"]
    assert broken(tmp_path) is None

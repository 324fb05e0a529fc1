"""Homes: folders, and copies of what an object store holds."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limbeck import storage as module
from limbeck.cli import export
from limbeck.cli.places import Places
from limbeck.errors import UserError
from limbeck.storage import Storage, Trail, fetched, storage_at
from object_store import object_store


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    with object_store("runs") as environment:
        for name, value in environment.items():
            patch.setenv(name, value)
        module._store.cache_clear()
        yield "s3://runs"
    module._store.cache_clear()
    patch.undo()


@pytest.fixture
def home(store: str, tmp_path: Path) -> Storage:
    return storage_at(f"{store}/{tmp_path.name}/", tmp_path / "here")


def elsewhere(home: Storage, tmp_path: Path) -> Storage:
    """The same home as another machine has it."""
    return Storage(tmp_path / "there", home.uri)


def test_a_folder_is_its_own_storage(tmp_path: Path) -> None:
    home = storage_at(str(tmp_path), tmp_path / "cache").below("sweep")
    assert (home, home.remote) == (Storage(tmp_path / "sweep"), False)
    trial = home.folder / "trial"
    trial.mkdir(parents=True)
    home.write_text(trial / "a", "text")
    assert (home.shown(trial), home.read_text(trial / "a"), home.exists(trial / "b")) == (str(trial), "text", False)
    trail = Trail(home, trial)
    trail.fetch()
    trail.push()
    home.fetch(trial)
    home.leave(trial)
    assert (trial / "a").read_text() == "text"
    home.check()
    home.remove(trial)
    assert not trial.exists()


def test_an_address_holds_no_keys(tmp_path: Path) -> None:
    for home in ("s3://somebody:s3cret@runs/x", "s3://runs/x?secret_key=s3cret"):
        with pytest.raises(UserError, match=r"s3://runs/x: give keys .* by the environment") as error:
            storage_at(home, tmp_path)
        assert "s3cret" not in str(error.value)
    with pytest.raises(UserError, match=r"a home is a folder or one of s3://bucket/path, .*; got 'ftp://host/x'"):
        storage_at("ftp://host/x", tmp_path)


def test_what_one_machine_leaves_another_finds(home: Storage, tmp_path: Path) -> None:
    home.check()
    trial = home.folder / "sweep" / "trial"
    assert home.shown(trial) == f"{home.uri}/sweep/trial" and not home.uri.endswith("/")
    home.write_text(trial / "trial.json", "{}")
    there = elsewhere(home, tmp_path)
    assert there.exists(there.folder / "sweep/trial/trial.json")
    assert there.read_text(there.folder / "sweep/trial/trial.json") == "{}"
    with pytest.raises(FileNotFoundError):
        there.read_text(there.folder / "sweep/trial/other")

    first = Trail(home, trial)
    first.fetch()
    (trial / "checkpoints" / "step-1").mkdir(parents=True)
    (trial / "checkpoints" / "step-1" / "x").write_bytes(bytes(10))
    (trial / ".lock").touch()
    (trial / "checkpoints" / ".writing").mkdir()
    (trial / "checkpoints" / ".writing" / "x").touch()
    first.push()
    (trial / "checkpoints" / "step-1").rename(trial / "checkpoints" / "step-2")
    first.push()
    # Asks a trial to stop, from outside: the trail must not take it for something that is gone.
    there.write_text(there.folder / "sweep/trial/stop", "")
    first.push()

    away = there.folder / "sweep" / "trial"
    (away / "old").write_text("of an earlier run here")
    (away / ".lock").write_text("held")
    Trail(there, away).fetch()
    found = {path.relative_to(away).as_posix() for path in away.rglob("*") if path.is_file()}
    assert found == {"trial.json", "stop", "checkpoints/step-2/x", ".lock"}
    assert (away / ".lock").read_text() == "held" and (away / "checkpoints/step-2/x").read_bytes() == bytes(10)

    home.leave(trial)
    assert not trial.exists() and there.exists(away / "stop")
    there.remove(away)
    there.remove(away)
    assert not home.exists(trial / "stop") and not away.exists()
    files, at = module._open(home.shown(trial))
    assert files.get_file_info(at).type.name == "NotFound", "no mark of an empty folder either"


def test_only_what_is_new_travels(home: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    upload = module._upload

    def count(path: Path, uri: str) -> None:
        sent.append(path.name)
        upload(path, uri)

    monkeypatch.setattr(module, "_upload", count)
    trial = home.folder / "trial"
    (trial / "student").mkdir(parents=True)
    trail = Trail(home, trial)
    trail.fetch()
    (trial / "a").write_text("1")
    trail.push()
    (trial / "result.json").write_text("{}")
    (trial / "student" / "weights").write_text("w")
    trail.push("result.json")
    assert sent == ["a", "weights", "result.json"], "what says that all is there comes last"
    (trial / "a").write_text("22")
    again = Trail(home, trial)
    again.fetch()
    assert (trial / "a").read_text() == "1", "the storage is the truth"
    again.push()
    assert len(sent) == 3


def test_a_store_that_is_away_for_a_while_is_asked_again(
    home: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    faults = [OSError("timed out"), OSError("timed out")]
    monkeypatch.setattr(module.time, "sleep", slept.append)

    def act() -> None:
        if faults:
            raise faults.pop()

    home.insist(act)
    assert len(slept) == 2 and not faults
    faults.append(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        Storage(tmp_path).insist(act)
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    faults.append(OSError("timed out"))
    with pytest.raises(OSError, match="timed out"):
        home.insist(act)


def test_a_student_is_fetched_once_for_a_reader(home: Storage, tmp_path: Path) -> None:
    home.write_text(home.folder / "s" / "t" / "student" / "config.json", "{}")
    reader = elsewhere(home, tmp_path)
    folder = fetched(reader, "s", "t")
    assert (folder / "config.json").read_text() == "{}" and not (reader.folder / "s").exists()
    (folder / "config.json").write_text("[]")
    os.utime(folder / "config.json", ns=(1, 1))
    assert (fetched(reader, "s", "t") / "config.json").read_text() == "{}"
    before = (folder / "config.json").stat().st_ino
    fetched(reader, "s", "t")
    assert (folder / "config.json").stat().st_ino == before, "what has not changed stays"
    assert list(fetched(reader, "s", "nobody").iterdir()) == []


def test_a_student_is_exported_from_the_home_that_was_given(home: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(home.folder / "reader"))
    home.write_text(home.folder / "s" / "t" / "student" / "config.json", "{}")
    row: Any = SimpleNamespace(sweep="s", trial="t", folder=f"{home.uri}/s/t")
    found = export._student(row, Places(home.uri, "sqlite:///x.db"))
    assert (found / "config.json").read_text() == "{}"
    with pytest.raises(UserError, match=f"the student lies in an object store: give --home {home.uri}$"):
        export._student(row, Places("runs", "sqlite:///x.db"))
    elsewhere: Any = SimpleNamespace(sweep="s", trial="u", folder=f"{home.uri}/s/t")
    assert not list(export._student(elsewhere, Places(home.uri, "sqlite:///x.db")).iterdir()), "the row is not followed"


def test_a_store_that_refuses_is_told_in_a_line(home: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="s3://nobodys/x: runs cannot be kept here: "):
        storage_at("s3://nobodys/x", tmp_path).check()
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir() or path.name.startswith(".")]

    def refuses(_: str) -> None:
        raise OSError("AWS Error ACCESS_DENIED during ListObjectsV2 operation\nmore")

    monkeypatch.setattr(module, "_below", refuses)
    with pytest.raises(UserError, match=f"^{home.uri}: cannot be read: AWS Error ACCESS_DENIED .* operation$"):
        fetched(home, "s", "t")


def test_names_in_a_store_stay_below_their_folder(home: Storage, tmp_path: Path) -> None:
    files, at = module._open(f"{home.uri}/t")
    with files.open_output_stream(f"{at}/a/../../../evil") as out:
        out.write(b"x")
    home.fetch(home.folder / "t")
    assert not list(tmp_path.rglob("evil"))

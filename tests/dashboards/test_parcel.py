"""A student whose home is an object store is found by the pages as one on this machine is."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import parcel
from limbeck import storage as module
from limbeck.storage import storage_at
from object_store import object_store

from .conftest import DASHBOARDS


def trial(name: str) -> Any:
    return SimpleNamespace(sweep="s", trial=name, folder=f"s3://elsewhere/s/{name}", created=datetime.now(UTC))


def test_a_student_in_an_object_store_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DASHBOARDS.is_dir()
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "reader"))
    with object_store("runs") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        module._store.cache_clear()
        home = storage_at("s3://runs/team", tmp_path / "driver")
        for name in ("config.json", "model.safetensors", "secret.key"):
            home.write_text(home.folder / "s" / "t" / "student" / name, "{}")
        found = parcel.find_student(trial("t"), "s3://runs/team")
        assert found is not None and [path.name for path in found.files] == ["config.json", "model.safetensors"]
        assert found.folder.is_relative_to(tmp_path / "reader")
        assert parcel.find_student(trial("u"), "s3://runs/team") is None
        assert parcel.find_student(trial("../s/t"), "s3://runs/team") is None
        assert parcel.find_student(trial("t"), "s3://runs/nobodys") is None
    module._store.cache_clear()

"""What the doctor finds, and what it says to do about it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from limbeck.cli import doctor as command
from limbeck.cluster import doctor, session
from limbeck.cluster.doctor import Place, examine, filesystem, installed, token
from limbeck.cluster.probe import Finding
from limbeck.plan import Plan
from limbeck.store import open_store
from limbeck.store.health import EMPTY, database_state
from worlds import write_base, write_task

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/x /shared nfs4 rw 0 0
/dev/vdb /shared/my\\040disk ext4 rw 0 0
"""


def lines(found: list[Finding]) -> list[str]:
    return [f"{finding.name}: {finding.what}" for finding in found]


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder, and no token in the environment."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    return tmp_path


def test_the_token_is_found_and_never_shown(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = user / ".ray" / "auth_token"
    (finding,) = token(user)
    assert finding.fine and "Ray makes one" in finding.what
    file.write_text("s3cret")
    file.chmod(0o644)
    (finding,) = token(user)
    assert (finding.what, finding.mend) == (f"{file} can be read by others", f"chmod 600 {file}")
    file.chmod(0o600)
    assert lines(list(token(user))) == [f"token: from {file}"]
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(user / "missing"))
    (finding,) = token(user)
    assert not finding.fine and "is not there" in finding.what
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s3cret")
    assert lines(list(token(user))) == ["token: from RAY_AUTH_TOKEN"]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (finding,) = token(user)
    assert not finding.fine and "unset it" in finding.mend


def test_a_token_that_ray_leaves_open_is_closed(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(user))
    session._close_token_file()
    file = user / ".ray" / "auth_token"
    file.write_text("s3cret")
    file.chmod(0o644)
    session._close_token_file()
    assert file.stat().st_mode & 0o777 == 0o600


def test_libraries_of_other_versions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed().fine
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["ray[tune]>=99", "no-such-thing>=1", "x; extra == 'y'"])
    finding = installed()
    assert "limbeck needs >=99" in finding.what and "no-such-thing is missing" in finding.what
    assert "constraints.txt" in finding.mend and "x " not in finding.what


def test_the_disk_under_a_file_is_the_nearest_mount() -> None:
    assert filesystem(Path("/shared/runs/limbeck.db"), MOUNTS) == "nfs4"
    assert filesystem(Path("/shared/my disk/limbeck.db"), MOUNTS) == "ext4"
    assert filesystem(Path("/srv/limbeck.db"), MOUNTS) == "ext4"
    assert filesystem(Path("/srv/limbeck.db"), "") is None


def test_sqlite_on_a_network_disk_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_mounts", lambda: f"server:/x {tmp_path} nfs4 rw 0 0\n")
    (finding,) = doctor._database(f"sqlite:///{tmp_path}/limbeck.db")
    assert "SQLite does not work on a network disk (nfs4)" in finding.what and "postgresql" in finding.mend


def test_a_database_is_looked_at_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "limbeck.db"
    url = f"sqlite:///{file}"
    assert database_state(url) == EMPTY and not file.parent.exists()
    open_store(url).close()
    assert database_state(url) == "schema 1"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE limbeck_meta SET schema_version = 0")
    assert database_state(url) == "schema 0, which the next sweep upgrades to 1"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE limbeck_meta SET schema_version = 99")
    connection.close()
    assert lines(list(doctor._database(url)))[0].endswith("upgrade limbeck")
    (tmp_path / "other.db").write_text("this is no database at all, but long enough to be looked at")
    (finding,) = doctor._database(f"sqlite:///{tmp_path}/other.db")
    assert not finding.fine and "not a database" in finding.what


def test_what_was_found_is_printed_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.show([Finding("disk", "there is room")]) == 0
    assert command.show([Finding("disk", "there is room"), Finding("token", "open", "chmod 600 it")]) == 1
    assert capsys.readouterr().out == (
        "ok    disk: there is room\nnothing to mend\n"
        "ok    disk: there is room\nMEND  token: open\n      chmod 600 it\n1 to mend\n"
    )


@pytest.mark.slow
def test_a_plan_is_examined_with_its_cluster(
    make_plan: Callable[..., Plan], tmp_path: Path, user: Path, monkeypatch: pytest.MonkeyPatch, ray_here: None
) -> None:
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "task", rows=40)
    write_base(tmp_path / "base")
    place = Place(tmp_path / "runs", f"sqlite:///{tmp_path}/limbeck.db", tmp_path / "cache", None, None)
    short = "base.training.max_tokens=32"
    good = make_plan("", "base.task={files: {train: task/train.csv}}", "base.teacher.base=base", short)
    found = list(examine(Place(**{**vars(place), "plan": good})))
    assert [finding for finding in found if not finding.fine] == []
    names = {finding.name for finding in found}
    here = {"libraries", "disk", "database", "token", "upload"}
    assert names == here | {"ray", "resources", "storage", "versions", "plan", "vocabularies"}

    other = write_base(tmp_path / "other")
    words = (tmp_path / "other" / "tokenizer.json").read_text().replace('"awful"', '"awfully"')
    (tmp_path / "other" / "tokenizer.json").write_text(words)
    bad = make_plan(
        "cluster: {cpus: 4000}\n",
        "base.task={files: {train: task/missing.csv}}",
        "base.teacher.base=base",
        f"base.method.generator={{base: {other}}}",
    )
    said = "\n".join(lines([finding for finding in examine(Place(**{**vars(place), "plan": bad})) if not finding.fine]))
    assert "resources: cluster.cpus" in said
    assert "plan: " in said and "missing.csv" in said
    assert "vocabularies: generator" in said
    assert "upload: base.task.files.train" in said

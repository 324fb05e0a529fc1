"""`limbeck dashboard`: where it listens, what it is told, and that it goes when it is told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from limbeck.cli import main
from limbeck.cli.dashboard import _signs_in, environment, server_command
from limbeck.cli.places import Places

from .conftest import DASHBOARDS

HEAVY = {"torch", "ray", "transformers", "datasets", "optuna", "sklearn", "statsmodels"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_listens_on_this_machine_alone_and_sends_nothing_home() -> None:
    command = server_command("127.0.0.1", 8600)
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--server.address"] == "127.0.0.1"
    assert options["--server.port"] == "8600"
    assert options["--server.headless"] == "true"
    assert options["--browser.gatherUsageStats"] == "false"


def test_the_database_goes_by_the_environment() -> None:
    where = Places("runs", "postgresql+psycopg://me:secret@db/limbeck")
    assert environment(where)["LIMBECK_DATABASE"] == where.database
    assert environment(where)["LIMBECK_HOME"] == "runs"
    assert not any("secret" in part for part in server_command("127.0.0.1", 8600))


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["dashboard", "--port", str(port)]) == 2
        assert f"{port} is taken" in capsys.readouterr().err
    assert main(["dashboard", "--port", "99999"]) == 2
    assert main(["dashboard", "--address", "203.0.113.1", "--port", "8600"]) == 2
    assert "none of this machine's addresses" in capsys.readouterr().err


def test_it_serves_and_goes_with_its_command(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "limbeck.cli", "dashboard", "--home", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert f"http://127.0.0.1:{port}" in server.stderr.readline()
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 128 + signal.SIGTERM
        finally:
            server.kill()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is still there"
    assert list(tmp_path.iterdir()) == []


STREAMLIT = [sys.executable, "-m", "streamlit", "run", str(DASHBOARDS / "app.py"), "--server.headless", "true"]


@pytest.mark.parametrize(
    ("command", "elsewhere"),
    [
        ([*STREAMLIT, "--server.port"], False),
        ([sys.executable, "-m", "limbeck.cli", "dashboard", "--address", "0.0.0.0", "--port"], True),
    ],
    ids=["streamlit", "limbeck --address"],
)
def test_only_who_is_told_to_listens_beyond_this_machine(command: list[str], elsewhere: bool, tmp_path: Path) -> None:
    port = free_port()
    where = {**os.environ, "LIMBECK_HOME": str(tmp_path)}
    with subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL, cwd=tmp_path, env=where) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            with socket.socket() as probe:
                # Another address of this machine, which a server on 127.0.0.1 does not answer at.
                assert (probe.connect_ex(("127.0.0.2", port)) == 0) is elsewhere
        finally:
            server.send_signal(signal.SIGTERM)


def test_a_sign_in_is_one_that_the_secrets_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert not _signs_in()
    (tmp_path / ".streamlit").mkdir()
    for text, expected in (
        ("# [auth]\n[dashboard]\n", False),
        ("[auth\n", False),
        ("[auth]\nclient_id = 'x'\n", True),
        ("[auth.google]\nclient_id = 'x'\n", True),
    ):
        (tmp_path / ".streamlit" / "secrets.toml").write_text(text)
        assert _signs_in() is expected, text


def wait_for(url: str, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_no_page_loads_a_heavy_library(demo: Path) -> None:
    code = f"""
import json, sys
from streamlit.testing.v1 import AppTest
found = {{}}
for page in ["overview", "sweep", "retention", "ablations", "trial", "compare", "export"]:
    app = AppTest.from_file({str(DASHBOARDS / "app.py")!r}, default_timeout=120)
    if page != "overview":
        app.switch_page(f"views/{{page}}.py")
    app.run()
    found[page] = [*(e.value for e in app.exception), *sorted({HEAVY!r} & sys.modules.keys())]
print(json.dumps(found))
"""
    where = {"LIMBECK_HOME": str(demo), "LIMBECK_DATABASE": f"sqlite:///{demo / 'limbeck.db'}"}
    paths = os.pathsep.join([str(DASHBOARDS.parent / "platform"), str(DASHBOARDS)])
    environment = {**os.environ, **where, "PYTHONPATH": paths}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found = json.loads(run.stdout.splitlines()[-1])
    assert {page: names for page, names in found.items() if names} == {} and len(found) == 7

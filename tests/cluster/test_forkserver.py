"""Scripts run in forks of a process that has done their imports, and without it when it is gone."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from limbeck.cluster import forkserver as module
from limbeck.cluster.forkserver import SWITCH, forkserver
from limbeck.cluster.session import IMPORTS, IMPORTS_OF_RAY

SCRIPT = """
import json, os, signal, sys
loaded = [name for name in ("early_one", "late_one") if name in sys.modules]
import beside
print(json.dumps({
    "process": os.getpid(), "parent": os.getppid(), "arguments": sys.argv[1:], "loaded": loaded, "beside": beside.WORD,
    "own": os.environ.get("OWN"), "folder": os.getcwd(), "name": __name__,
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "input": sys.stdin.read(), "children": signal.getsignal(signal.SIGCHLD),
    "group": os.getpgid(0),
}))
print("a word", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that tells of the process it runs in, with a module beside it, and two modules to import before."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "early_one.py").write_text("")
    # What is imported late may read the environment once and for all.
    (modules / "late_one.py").write_text("import os\nSEEN = os.environ.get('OWN')\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.delenv(SWITCH, raising=False)
    (tmp_path / "beside.py").write_text("WORD = 'found'\n")
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def python(script: Path) -> Iterator[str]:
    """The command that runs scripts in forks."""
    with forkserver(["early_one"], ["late_one"]) as command:
        if command is None:
            pytest.skip("processes are not forked here")
        yield command


def told(python: str, script: Path, *arguments: str, **own: Any) -> dict[str, Any]:
    """What the script says of its process."""
    ran = subprocess.run(
        [*shlex.split(python), str(script), *arguments], capture_output=True, text=True, timeout=60, **own
    )
    assert ran.stderr == "a word\n"
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def environment(**more: str) -> Mapping[str, str]:
    return {**os.environ, **more}


def test_a_fork_is_like_an_interpreter_started_for_the_script(python: str, script: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    plain = os.getpriority(os.PRIO_PROCESS, 0)
    python = f"nice -n 3 {python}"
    found = told(python, script, "two words", "3", cwd=here, env=environment(OWN="yes"), input="a line")
    assert found["arguments"] == ["two words", "3"]
    assert found["loaded"] == ["early_one", "late_one"]
    assert found["beside"] == "found"
    assert (found["own"], found["folder"], found["name"]) == ("yes", str(here), "__main__")
    assert (found["nice"], found["input"]) == (plain + 3, "a line")
    assert found["children"] == signal.SIG_DFL
    assert found["group"] == found["process"]


def test_forks_come_from_one_process_and_have_environments_of_their_own(python: str, script: Path) -> None:
    first = told(python, script, env=environment(OWN="1"), input="")
    second = told(python, script, env=environment(OWN="2"), input="")
    assert first["parent"] == second["parent"] != os.getpid()
    assert first["process"] != second["process"]
    assert (first["own"], second["own"]) == ("1", "2")


def test_the_late_modules_see_the_environment_of_the_first_who_asks(python: str, tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text("import late_one\nprint(late_one.SEEN)\n")
    for own in ("first", "second"):
        ran = subprocess.run(
            [*shlex.split(python), str(path)], env=environment(OWN=own), capture_output=True, text=True, timeout=60
        )
        assert ran.stdout == "first\n"


@pytest.mark.parametrize("own, found", [(None, "huge None"), ("small", "small small")])
def test_defaults_are_for_the_server_and_give_way_to_the_users(
    script: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, found: str
) -> None:
    (script.parent / "modules" / "early_one.py").write_text("import os\nSEEN = os.environ.get('HEAP')\n")
    if own:
        monkeypatch.setenv("HEAP", own)
    path = script.parent / "heap.py"
    path.write_text("import os, early_one\nprint(early_one.SEEN, os.environ.get('HEAP'))\n")
    with forkserver(["early_one"], [], {"HEAP": "huge"}) as command:
        if command is None:
            pytest.skip("processes are not forked here")
        ran = subprocess.run([*shlex.split(command), str(path)], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == found


def test_a_fork_that_is_killed_lets_the_asker_go(python: str, tmp_path: Path) -> None:
    path = tmp_path / "dies.py"
    path.write_text("import os, signal\nprint('once', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    ran = subprocess.run([*shlex.split(python), str(path)], timeout=60, capture_output=True, text=True)
    assert ran.stdout == "once\n"


def test_without_the_server_a_script_runs_in_an_interpreter_of_its_own(script: Path) -> None:
    with forkserver(["early_one"], ["late_one"]) as command:
        assert command is not None
    found = told(command, script, "x", env=environment(OWN="1"), input="")
    assert found["loaded"] == []
    assert found["parent"] == os.getpid()
    assert found["arguments"] == ["x"]


@pytest.mark.parametrize("early, late", [(["no_such_module"], ["late_one"]), (["early_one"], ["no_such_module"])])
def test_a_server_that_cannot_import_costs_nobody_the_script(script: Path, early: list[str], late: list[str]) -> None:
    with forkserver(early, late) as command:
        assert command is not None
        assert told(command, script, env=environment(), input="")["parent"] == os.getpid()


def test_an_asker_who_says_nothing_keeps_nobody_waiting_for_long(python: str, script: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(shlex.split(python)[-1])
        assert told(python, script, env=environment(), input="")["loaded"]


def test_the_server_ends_with_the_process_that_started_it(script: Path, tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(module.__file__).parents[2])!r})\n"
        "from limbeck.cluster.forkserver import forkserver\n"
        "with forkserver(['early_one'], ['late_one']) as command:\n"
        "    print(command, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, str(driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    command = process.stdout.readline().strip()
    server = told(command, script, env=environment(), input="")["parent"]
    process.kill()
    process.communicate()
    until = time.monotonic() + 20
    while Path(f"/proc/{server}/stat").exists() and time.monotonic() < until:
        # An ended process whose parent is gone may stay as a zombie where nobody takes it in.
        if Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{server}").exists()


@pytest.mark.parametrize("why", ["switched off", "not linux", "a GPU", "a long path"])
def test_where_forks_are_not_safe_there_is_no_command(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if why == "switched off":
        monkeypatch.setenv(SWITCH, "0")
    elif why == "not linux":
        monkeypatch.setattr(module.sys, "platform", "darwin")
    elif why == "a GPU":
        (tmp_path / "driver").touch()
        monkeypatch.setattr(module, "_GPU_DRIVERS", (str(tmp_path / "driver"),))
    else:
        monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / ("long" * 30)))
        Path(module.tempfile.tempdir).mkdir()
    with forkserver([], []) as command:
        assert command is None


def test_forks_draw_names_of_their_own_from_rays_generator(tmp_path: Path) -> None:
    path = tmp_path / "names.py"
    # Placement groups are named by the same generator, out of a program's reach.
    path.write_text("import ray, sys\nprint('ray.tune' in sys.modules, ray.ObjectID.from_random().hex())\n")
    with forkserver(IMPORTS, IMPORTS_OF_RAY) as command:
        if command is None:
            pytest.skip("processes are not forked here")
        ran = [
            subprocess.run([*shlex.split(command), str(path)], capture_output=True, text=True, timeout=120).stdout
            for _ in range(2)
        ]
    assert all(one.startswith("True ") for one in ran)
    assert ran[0] != ran[1]

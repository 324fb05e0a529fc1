"""Worker processes of Ray on this machine, forked from one that has done the imports.

Ray starts each worker as an interpreter of its own, and each imports PyTorch, transformers and Ray's own libraries:
seconds of processor time, and some 380 MiB that no two of them share. Here one process imports them, and Ray is told
(by `py_executable` of its runtime environment) to start workers through a program that has that process fork instead.
Where it cannot, the program becomes the interpreter it stands for, and only the gain is lost.

This file is that program as well, run by its path: at its top it imports the standard library alone.
"""

import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_STREAMS = (0, 1, 2)
_LENGTH_BYTES = 4
_ASKER_SECONDS = 5.0
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")
SWITCH = "LIMBECK_FORK"
"""An environment variable: with 0 in it every process starts as an interpreter of its own."""


@contextmanager
def forkserver(
    early: Sequence[str], late: Sequence[str], defaults: Mapping[str, str] | None = None
) -> Iterator[str | None]:
    """Start a process that imports modules; yield a command that runs a Python script in a fork of it.

    It imports the `early` ones at once and the `late` ones when it is first asked, in that asker's environment: Ray
    reads once, when it is imported, which cluster and job it is part of. `defaults` are environment variables that it
    starts with unless the user set them; a script that a fork runs finds its asker's alone.

    None where it is switched off or forks are not safe: off Linux, and beside a GPU's driver, which a fork cannot use
    once an import has spoken to it. Forks outlive the server: whoever asked for them ends them.
    """
    if not _safe():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="limbeck-fork-") as folder, socket.socket(socket.AF_UNIX) as door:
        path = str(Path(folder) / "door")
        try:
            door.bind(path)
        except OSError:
            # The folder for temporary files has too long a path for a socket.
            yield None
            return
        # Who comes before the imports are done waits at the door.
        door.listen(socket.SOMAXCONN)
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(door.fileno()), ",".join(early), ",".join(late)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[door.fileno()],
            # Threads of OpenBLAS would not come along into a fork.
            env={**(defaults or {}), **os.environ, "OPENBLAS_NUM_THREADS": "1"},
            # Ctrl-C is for the driver to deal with.
            start_new_session=True,
        )
        # With the server gone nobody may wait at its door.
        door.close()
        try:
            yield shlex.join([sys.executable, "-I", __file__, "ask", path])
        finally:
            server.kill()
            server.communicate()


def _safe() -> bool:
    if os.environ.get(SWITCH) == "0" or sys.platform != "linux":
        return False
    return not any(Path(driver).exists() for driver in _GPU_DRIVERS)


def _serve(door: socket.socket, early: Sequence[str], late: Sequence[str]) -> Mapping[str, Any] | None:
    """Fork for everybody who asks; return in each fork, with what was asked.

    None in the server itself, once the process that started it is gone.
    """
    _import(early)
    # Nobody waits for the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asked_before = False
    while True:
        readable, _, _ = select.select([door, sys.stdin], [], [])
        if sys.stdin in readable:
            return None
        asker, _ = door.accept()
        asker.settimeout(_ASKER_SECONDS)
        with asker:
            try:
                asked, streams = _hear(asker)
            except (OSError, ValueError):
                # It has gone, or is none of ours.
                continue
            if not asked_before:
                asked_before = True
                _take(asked["environment"])
                _import(late)
                # A fork's collector would write to every object it looks at, and so copy every page.
                gc.collect()
                gc.freeze()
            if child := os.fork() == 0:
                door.close()
                # A copy stays open until this process ends, which is how the asker hears of it.
                os.dup(asker.fileno())
                asker.send(b"!")
                for ours, theirs in zip(streams, _STREAMS, strict=True):
                    os.dup2(ours, theirs)
            for stream in streams:
                os.close(stream)
            if child:
                return asked


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _take(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _hear(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return what somebody asks for, and his standard streams."""
    length, streams, *_ = socket.recv_fds(asker, _LENGTH_BYTES, len(_STREAMS), socket.MSG_WAITALL)
    try:
        asked: dict[str, Any] = json.loads(asker.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    except (OSError, ValueError):
        for stream in streams:
            os.close(stream)
        raise
    return asked, streams


def _become(asked: Mapping[str, Any]) -> None:
    """Run a script as an interpreter does that was started for it."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(asked["folder"])
    _take(asked["environment"])
    # Ray lets its workers step back for everybody else; so must their forks.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, asked["niceness"])
    sys.argv = asked["arguments"]
    # An interpreter looks for modules beside its script first.
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def _ask(path: str, arguments: Sequence[str]) -> None:
    """Have a script run in a fork of the server at `path`, and stay for as long as it runs."""
    asked = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
    }
    message = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server, suppress(OSError):
        server.connect(path)
        socket.send_fds(server, [len(message).to_bytes(_LENGTH_BYTES, "big")], _STREAMS)
        server.sendall(message)
        if server.recv(1):
            # However the fork ends, its script has been run.
            with suppress(OSError):
                server.recv(1)
            return
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 -- this very interpreter


def main(role: str, place: str, *others: str) -> None:
    """Be the server, or ask it."""
    if role == "ask":
        _ask(place, others)
        return
    early, late = (list(filter(None, names.split(","))) for names in others)
    with socket.socket(fileno=int(place)) as door:
        asked = _serve(door, early, late)
    if asked is not None:
        _become(asked)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Harm that comes from beside: processes and servers killed while a sweep runs."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import ray

from limbeck.cluster.sweep import Site
from limbeck.cluster.worker import DEATHS_FORGIVEN
from postgres import Server


@contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let `act` run beside; it is to end when the event is set, and what it raises is raised here."""
    over, raised = threading.Event(), []

    def guarded() -> None:
        try:
            act(over)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(120)
    if raised:
        raise raised[0]


def running(folder: Path, rank: int = 0) -> Iterator[tuple[Path, int]]:
    """Trials that have left a checkpoint and run on, and the process of one of their workers."""
    for state in sorted(folder.glob("*/state-0.json")):
        trial = state.parent
        pid = trial / f"pid-{rank}"
        if pid.exists() and not (trial / "predictions").exists() and not (trial / "stop").exists():
            with suppress(ValueError, OSError):
                yield trial, int(pid.read_text())


def kill_once(folder: Path, rank: int, killed: list[Path]) -> Callable[[threading.Event], None]:
    """Kill the process of the first trial that is under way."""

    def act(over: threading.Event) -> None:
        while not over.wait(0.02):
            for trial, pid in running(folder, rank):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(trial)
                    return

    return act


def strike(folder: Path, seed: int, kills: list[str]) -> Callable[[threading.Event], None]:
    """Kill the process of some trial every few seconds, and none more often than it is forgiven."""
    draw = np.random.default_rng(seed)

    def act(over: threading.Event) -> None:
        while not over.wait(draw.uniform(1.0, 4.0)):
            found = [one for one in running(folder) if kills.count(one[0].name) < DEATHS_FORGIVEN]
            if found:
                trial, pid = found[draw.integers(len(found))]
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills.append(trial.name)

    return act


def outage(
    server: Server, folder: Path, seconds: float, marks: list[float], missed: Callable[[], bool]
) -> Callable[[threading.Event], None]:
    """Kill the database when a trial is under way; start it again when it was `missed`, a trial has ended, and
    some seconds have passed since: a machine that stands still for a while hears of nothing. Note when.
    """

    def ended() -> int:
        return len(list(folder.glob("*/predictions")))

    def act(over: threading.Event) -> None:
        before = ended()
        while not any(running(folder)):
            if over.wait(0.02):
                return
            before = ended()
        server.kill()
        marks.append(time.time())
        try:
            while not (missed() and ended() > before):
                if over.wait(0.02):
                    return
            over.wait(seconds)
            marks.append(time.time())
        finally:
            server.start()

    return act


def left_behind(site: Site, plan: str) -> list[str]:
    """What a sweep that has ended left on the cluster and in its folder and should not have."""
    held = [f"{name}: {ray.available_resources().get(name, 0)} of {total} free" for name, total in _whole().items()]
    found = [line for name, line in zip(_whole(), held, strict=True) if not _free(name)]
    states = {group["state"] for group in ray.util.placement_group_table().values()}
    found += [f"placement groups: {states}"] if states - {"REMOVED"} else []
    folder = site.home / plan
    stray = [*folder.glob(".tune*"), *folder.glob("*/.train"), *site.home.glob(".probe*"), *folder.glob("*/.state")]
    return found + [str(path) for path in stray]


def _whole() -> dict[str, float]:
    return {name: amount for name, amount in ray.cluster_resources().items() if name in ("CPU", "GPU")}


def _free(name: str) -> bool:
    return bool(ray.available_resources().get(name) == ray.cluster_resources()[name])

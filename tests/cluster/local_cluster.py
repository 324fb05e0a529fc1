"""A Ray cluster of several nodes on this machine, with the job server on and a token that only its users know."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

START_SECONDS = 180


_SMALL = ("--object-store-memory", str(128 * 2**20), "--disable-usage-stats")


@dataclass
class LocalCluster:
    """Where it listens, what its users set, and its nodes."""

    dashboard: str
    gcs: str
    token: str
    folder: Path
    own: Mapping[str, str]
    """What the nodes' processes have in their environment, beside what users have."""
    stack: ExitStack
    nodes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """Address -> the node's first process; the head is none of them."""

    def environment(self, token: str | None) -> dict[str, str]:
        """This process's environment, for a user with that token."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return kept | {"PATH": path} | ({"RAY_AUTH_TOKEN": token} if token else {})

    def add_node(self, resources: Mapping[str, float]) -> str:
        """Start a node with these resources beside those that are there; return its address."""
        number = len(self.nodes) + 2
        # An address and a folder of its own: nodes that share one take each other's logs and uploads for theirs.
        address, (agent,) = f"127.0.0.{number}", free_ports(1)
        more = {name: amount for name, amount in resources.items() if name != "CPU"}
        words = ["--address", self.gcs, "--node-ip-address", address, "--num-cpus", f"{resources['CPU']:g}"]
        words += ["--resources", json.dumps(more), "--dashboard-agent-listen-port", str(agent)]
        words += ["--temp-dir", str(self.folder / f"n{number}"), *_SMALL]
        environment = {**self.environment(self.token), **self.own}
        self.nodes[address] = self.stack.enter_context(_ray(words, environment, self.folder / f"node-{number}.log"))
        _until(lambda: address in self.living())
        return address

    def living(self) -> dict[str, str]:
        """Address -> id of the nodes that are alive, the head among them."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.get(f"{self.dashboard}/nodes?view=summary", headers=headers, timeout=5)
        found: list[dict[str, Any]] = [node["raylet"] for node in answer.json()["data"]["summary"]]
        return {node["nodeManagerAddress"]: node["nodeId"] for node in found if node.get("state") == "ALIVE"}

    def kill_node(self, address: str) -> None:
        """End a node with all that runs on it at once, as a machine that loses its power."""
        process = self.nodes[address]
        for group in _groups(process.pid):
            os.killpg(group, signal.SIGKILL)
        process.wait()
        _until(lambda: address not in self.living())

    def drain(self, address: str, seconds: int) -> None:
        """Give notice, as a cloud does before it takes a machine away: it will be gone in so many seconds."""
        words = ["--node-id", self.living()[address], "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        words += ["--reason-message", "spot", "--deadline-remaining-seconds", str(seconds), "--address", self.gcs]
        ray = str(Path(sys.executable).parent / "ray")
        environment = {**self.environment(self.token), **self.own}
        subprocess.run([ray, "drain-node", *words], env=environment, check=True, capture_output=True, timeout=60)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def _ray(words: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start … --block` and its children, which leave with it."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), "start", *words, "--block"],
            env=dict(environment),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # Its session holds raylet, agents and workers, and nobody else's.
        for group in _groups(process.pid):
            os.killpg(group, signal.SIGKILL)
        process.wait()


def _groups(session: int) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.add(int(fields[2]))
    return found


@contextmanager
def local_cluster(*nodes: Mapping[str, float], **environment: str) -> Iterator[LocalCluster]:
    """A head without CPUs, and nodes with these resources; `environment` is for their processes."""
    gcs, dashboard, client, agent = free_ports(4)
    own = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", **_PROMPT, **environment}
    with ExitStack() as stack:
        # The folders that pytest makes may be too deep for the names of Ray's sockets.
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)))
        own["LIMBECK_CACHE"] = str(folder / "cache")
        cluster = LocalCluster(
            f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", secrets.token_hex(16), folder, own, stack
        )
        head = ["--head", "--port", str(gcs), "--dashboard-port", str(dashboard)]
        head += ["--ray-client-server-port", str(client), "--dashboard-agent-listen-port", str(agent)]
        head += ["--num-cpus", "0", "--node-ip-address", "127.0.0.1", "--temp-dir", str(folder / "r"), *_SMALL]
        stack.enter_context(_ray(head, {**cluster.environment(cluster.token), **own}, folder / "head.log"))
        _until(lambda: bool(cluster.living()))
        for resources in nodes:
            cluster.add_node(resources)
        yield cluster


_PROMPT = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
"""A node that is gone is noticed within two seconds instead of fifteen."""


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with suppress(requests.RequestException, KeyError, ValueError):
            if happened():
                return
        assert time.monotonic() < end, "the cluster did not start in time"
        time.sleep(0.2)

"""A Ray cluster of two nodes on this machine, with the job server on and a token that only its users know."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

START_SECONDS = 90


@dataclass(frozen=True)
class LocalCluster:
    """Where it listens, and what its users set."""

    dashboard: str
    gcs: str
    token: str
    head_agent_port: int

    def environment(self, token: str | None) -> dict[str, str]:
        """This process's environment, for a user with that token."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return kept | {"PATH": path} | ({"RAY_AUTH_TOKEN": token} if token else {})


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
def local_cluster(folder: Path) -> Iterator[LocalCluster]:
    """A head without CPUs, and a node with two and a resource called `driver`."""
    gcs, dashboard, client, agent, other = free_ports(5)
    token = secrets.token_hex(16)
    cluster = LocalCluster(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", token, agent)
    environment = {**cluster.environment(token), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"HF_HUB_OFFLINE": "1", "LIMBECK_CACHE": str(folder / "cache")}
    small = ["--object-store-memory", str(128 * 2**20), "--disable-usage-stats"]
    head = ["--head", "--port", str(gcs), "--dashboard-port", str(dashboard), "--ray-client-server-port", str(client)]
    head += ["--num-cpus", "0", "--dashboard-agent-listen-port", str(agent), "--temp-dir", str(folder / "r")]
    # An address and a folder of its own: nodes that share one take each other's logs and uploads for theirs.
    head += ["--node-ip-address", "127.0.0.1"]
    node = ["--address", cluster.gcs, "--node-ip-address", "127.0.0.2"]
    node += ["--num-cpus", "2", "--resources", '{"driver": 1}']
    node += ["--dashboard-agent-listen-port", str(other), "--temp-dir", str(folder / "n")]
    with ExitStack() as stack:
        stack.enter_context(_ray([*head, *small], environment, folder / "head.log"))
        _until_it_answers(cluster, 1)
        stack.enter_context(_ray([*node, *small], environment, folder / "node.log"))
        _until_it_answers(cluster, 2)
        yield cluster


def _until_it_answers(cluster: LocalCluster, nodes: int) -> None:
    end = time.monotonic() + START_SECONDS
    headers = {"Authorization": f"Bearer {cluster.token}"}
    while True:
        try:
            answer = requests.get(f"{cluster.dashboard}/nodes?view=summary", headers=headers, timeout=5)
            alive = [node for node in answer.json()["data"]["summary"] if node["raylet"].get("state") == "ALIVE"]
            if len(alive) >= nodes:
                return
        except (requests.RequestException, KeyError, ValueError):
            pass
        assert time.monotonic() < end, "the cluster did not start in time"
        time.sleep(0.2)

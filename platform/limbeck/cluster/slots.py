"""How many trials fit at once, and plans that do not fit at all."""

import math
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck.errors import Problem, UserError
from limbeck.sections import ClusterConfig

Resources = Mapping[str, float]
LEAST_FREE_BYTES = 2**30


def slots(cluster: ClusterConfig, nodes: Sequence[Resources]) -> int:
    """Return how many trials run at once on nodes with these resources.

    UserError when not even one fits: Ray would wait for the missing CPUs for ever.
    """
    room = sum(_fitting(cluster, node) for node in nodes)
    workers = max(1, cluster.workers)
    if room < workers:
        raise UserError(*_problems(cluster, nodes))
    most = room // workers
    return most if cluster.concurrent == "auto" else min(most, cluster.concurrent)


def _fitting(cluster: ClusterConfig, node: Resources) -> int:
    """Workers that fit on one node; a worker never spans two."""
    by_cpu = node.get("CPU", 0.0) / cluster.cpus
    by_gpu = node.get("GPU", 0.0) / cluster.gpus if cluster.gpus else math.inf
    # Shares such as 0.1 are no exact binary numbers: a hair below a whole is a whole.
    return math.floor(min(by_cpu, by_gpu) + 1e-9)


def _problems(cluster: ClusterConfig, nodes: Sequence[Resources]) -> list[Problem]:
    workers = max(1, cluster.workers)
    found: list[Problem] = []
    for name, each, where in (("CPU", cluster.cpus, "cpus"), ("GPU", cluster.gpus, "gpus")):
        total, largest = (f([node.get(name, 0.0) for node in nodes] or [0.0]) for f in (sum, max))
        if each * workers > total:
            asked = f"{workers} workers of {each:g}" if cluster.workers else f"{each:g}"
            found.append(Problem(f"cluster.{where}", f"a trial takes {asked} {name}s, and there are {total:g}"))
        elif each > largest:
            what = f"a worker takes {each:g} {name}s, and the largest of {len(nodes)} nodes has {largest:g}"
            found.append(Problem(f"cluster.{where}", what))
    return found or [Problem("cluster", f"{workers} workers do not fit on {len(nodes)} nodes side by side")]


def check_disk(home: Path) -> None:
    """Refuse a home that cannot be written or has less than 1 GiB left."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        # A name of its own: another sweep may be looking at this moment.
        probe = home / f".probe-{uuid.uuid4().hex[:8]}"
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(home).free
    except OSError as error:
        raise UserError(Problem(str(home), f"runs cannot be kept here: {error.strerror}")) from None
    if free < LEAST_FREE_BYTES:
        what = f"only {free / 2**20:.0f} MiB are free, and a sweep wants 1 GiB: make room, or choose another --home"
        raise UserError(Problem(str(home), what))

"""Print what a cluster's head and its storage have to bear: memory for an actor, requests for a trial.

Not part of the test suite: `python tests/benchmarks/bench_head.py`. Ray is real, the store an S3 server on loopback;
trials are toys that report four times and keep what real ones keep. From a few to a thousand is a matter of
multiplying: see docs/cluster.md.
"""

import argparse
import io
import logging
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))
sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[1] / "cluster"))
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])

from cluster_toys import TOY
from rich.console import Console

from limbeck.cluster import session
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import parse_plan
from limbeck.storage import storage_at
from object_store import object_store

PLAN = """
name: head
base:
  task: movies
  method: {name: mate, mask_rate: 0.3}
  training: {updates: 8, evaluations: 4, rows: 50}
vary: {method.mask_rate: {uniform: [0.1, 0.5]}}
search: {sampler: random}
"""
REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*([A-Z]+) /')
"""A request in the server's log, coloured where it found nothing."""


def resident() -> float:
    """MiB that the control process of this process's Ray holds, which knows of every node and actor."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
            pages = int((process / "statm").read_text().split()[1])
        except OSError:
            continue
        if name == "gcs_server" and int(parent) == os.getpid():
            return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    raise SystemExit("no control process of this Ray was found")


class Idle:
    """Takes up no more than an actor does."""

    def here(self) -> bool:
        return True


def head(actors: int) -> None:
    """Memory of the head's control process, by actors."""
    # Not above: limbeck.cluster, which tells Ray to send its token, comes first.
    import ray

    with session.connected(None):
        before = resident()
        idle = [ray.remote(num_cpus=0)(Idle).remote() for _ in range(actors)]
        assert all(ray.get([each.here.remote() for each in idle]))
        after = resident()
    print(
        f"the head's control process: {before:.0f} MiB alone, {after:.0f} with {actors} actors "
        f"({(after - before) / actors:.2f} an actor)"
    )


class Requests(logging.Handler):
    """Counts what the server is asked for, by what its log says."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_kind: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if found := REQUEST.search(record.getMessage()):
            self.by_kind[found[1]] += 1


def store(trials: int) -> None:
    """Requests a trial of four evaluations makes of an object store."""
    requests = Requests()
    with object_store("runs") as environment, tempfile.TemporaryDirectory() as scratch:
        os.environ.update(environment)
        server = logging.getLogger("werkzeug")
        server.setLevel(logging.INFO)
        server.handlers = [requests]
        server.propagate = False
        home = storage_at("s3://runs/team", Path(scratch) / "cache")
        with session.connected(None):
            counts = []
            for count in (2, 2 + trials):
                requests.by_kind.clear()
                plan = parse_plan(PLAN, "head.yaml", [f"name=head-{count}", f"search.trials={count}"])
                site = Site(home.folder, f"sqlite:///{scratch}/limbeck.db", Path(scratch) / "cache", None, home.uri)
                run_sweep(plan, site, console=Console(file=io.StringIO()), engine=TOY)
                counts.append(Counter(requests.by_kind))
    kinds = {kind: (counts[1][kind] - counts[0][kind]) / trials for kind in sorted(counts[1])}
    told = ", ".join(f"{each:.1f} {kind}" for kind, each in kinds.items())
    print(f"a trial asks an object store {sum(kinds.values()):.0f} times: {told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=24)
    parser.add_argument("--trials", type=int, default=10)
    given = parser.parse_args()
    head(given.actors)
    store(given.trials)

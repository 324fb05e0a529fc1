"""Print what a cluster's head and its storage have to bear: memory for a node and an actor, requests for a trial.

Not part of the test suite: `python tests/benchmarks/bench_head.py`. The cluster is a real head with real nodes on this
machine, the store an S3 server on loopback; trials are toys that report four times and keep what real ones keep. From
a few nodes and trials to a thousand is a matter of multiplying: see docs/cluster.md.
"""

import argparse
import io
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "platform"))
sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[1] / "cluster"))
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])

from cluster_toys import TOY
from local_cluster import local_cluster
from ray.job_submission import JobSubmissionClient
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
ACTORS = """
import time
import ray
ray.init(log_to_driver=False, logging_level="ERROR")
@ray.remote(num_cpus=0)
class Actor:
    def here(self): return True
actors = [Actor.remote() for _ in range({count})]
assert all(ray.get([actor.here.remote() for actor in actors]))
print("all are there", flush=True)
time.sleep(600)
"""
SETTLE_SECONDS = 5.0


def resident(folder: Path) -> float:
    """MiB that the head's control process holds, which knows of every node and actor."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            pages = int((process / "statm").read_text().split()[1])
        except OSError:
            continue
        if words[0].endswith("gcs_server") and any(str(folder) in word for word in words):
            found.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return max(found)


def head(nodes: int, actors: int) -> None:
    """Memory of the head's control process, by nodes and by actors."""
    with tempfile.TemporaryDirectory(prefix="lb-") as scratch, local_cluster(Path(scratch)) as cluster:
        time.sleep(SETTLE_SECONDS)
        alone = resident(cluster.folder)
        for _ in range(nodes):
            cluster.add_node({"CPU": 1})
        time.sleep(SETTLE_SECONDS)
        joined = resident(cluster.folder)
        (Path(scratch) / "actors.py").write_text(ACTORS.format(count=actors))
        client = JobSubmissionClient(cluster.dashboard, headers={"Authorization": f"Bearer {cluster.token}"})
        job = client.submit_job(entrypoint=f"{sys.executable} {scratch}/actors.py", entrypoint_num_cpus=1)
        while "all are there" not in client.get_job_logs(job):
            if client.get_job_status(job).is_terminal():
                raise SystemExit(client.get_job_logs(job))
            time.sleep(1)
        time.sleep(SETTLE_SECONDS)
        busy = resident(cluster.folder)
        client.stop_job(job)
    print(
        f"the head's control process: {alone:.0f} MiB alone, {joined:.0f} with {nodes} nodes "
        f"({(joined - alone) / nodes:.2f} a node), {busy:.0f} with {actors} actors on them "
        f"({(busy - joined) / actors:.2f} an actor)"
    )


class Requests(logging.Handler):
    """Counts what the server is asked for, by what its log says."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_kind: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().split('"')
        if len(words) > 1:
            self.by_kind[words[1].split()[0].removeprefix("\x1b[33m")] += 1


def store(trials: int) -> None:
    """Requests a trial of four evaluations makes of an object store."""
    requests = Requests()
    with object_store("runs") as environment, tempfile.TemporaryDirectory() as scratch:
        os.environ.update(environment)
        server = logging.getLogger("werkzeug")
        server.setLevel(logging.INFO)
        server.addHandler(requests)
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
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--actors", type=int, default=12)
    parser.add_argument("--trials", type=int, default=10)
    given = parser.parse_args()
    head(given.nodes, given.actors)
    store(given.trials)

"""A look at a cluster from each of its nodes: storage, database and versions, before anything starts."""

import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import limbeck
from limbeck.cluster.slots import LEAST_FREE_BYTES
from limbeck.errors import Problem, UserError
from limbeck.storage import Storage, reason

LIBRARIES = ("ray", "torch", "transformers", "optuna")
"""What trials and the driver must have alike: messages between them, and numbers, depend on it."""
_NODE_SECONDS = 120.0
"""How long a node may take: its first Python process starts cold, and it may have to fetch the upload."""
_DRIVER = "driver"
_GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of an examination."""

    name: str
    what: str
    mend: str = ""
    """What to do about it; empty where nothing is wrong."""

    @property
    def fine(self) -> bool:
        return not self.mend


@dataclass(frozen=True)
class Sight:
    """What one node told. Words say what is wrong; empty where nothing is."""

    storage: str = ""
    database: str = ""
    free_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""
    """Why the node told nothing."""


def versions() -> dict[str, str]:
    """Return what this process runs on."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "limbeck": limbeck.__version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def look(storage: Storage, folder: Path, word: str, node: str, database: str | None) -> Sight:
    """Look around on one node: read what the driver wrote below `folder`, and leave a file of this node's there.

    `database` is asked only where it is a server: a file belongs to the driver alone.
    """
    return Sight(
        storage=_storage(storage, folder, word, node),
        database=_database(database) if database else "",
        free_bytes=shutil.disk_usage(storage.folder).free if storage.folder.is_dir() else 0,
        versions=versions(),
    )


def _storage(storage: Storage, folder: Path, word: str, node: str) -> str:
    try:
        if storage.read_text(folder / _DRIVER) != word:
            return "it sees another folder under this name"
        storage.write_text(folder / node, word)
    except FileNotFoundError:
        return "it does not see what the driver writes there"
    except OSError as error:
        return f"it cannot write there ({reason(error)})"
    return ""


def _database(url: str) -> str:
    from limbeck.store import StoreError
    from limbeck.store.health import database_state

    try:
        database_state(url)
    except StoreError as error:
        return str(error)
    return ""


def ask_nodes(storage: Storage, database: str, nodes: Sequence[Mapping[str, Any]]) -> dict[str, Sight]:
    """Return what each node tells, by its address. `nodes` as `ray.nodes()` lists them; Ray must be connected.

    UserError: the driver itself cannot write there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    server = None if database.startswith("sqlite") else database
    word = uuid.uuid4().hex
    folder = storage.folder / f".probe-{word[:8]}"
    try:
        folder.mkdir(parents=True)
        storage.write_text(folder / _DRIVER, word)
    except OSError as error:
        where = storage.shown(storage.folder)
        raise UserError(Problem(where, f"runs cannot be kept here: {reason(error)}")) from None
    try:
        task = ray.remote(look)
        refs = {
            node["NodeID"]: task.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(storage, folder, word, node["NodeID"], server)
            for node in nodes
        }
        ray.wait(list(refs.values()), num_returns=len(refs), timeout=_NODE_SECONDS)
        told = {node["NodeID"]: _answer(refs[node["NodeID"]]) for node in nodes}
        return {_name(node): _seen(told[node["NodeID"]], storage, folder / node["NodeID"], word) for node in nodes}
    finally:
        storage.discard(folder)


def _answer(ref: Any) -> Sight:
    import ray

    try:
        sight: Sight = ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return Sight(lost=f"no answer within {_NODE_SECONDS:.0f} s")
    except (ray.exceptions.RayError, ImportError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Sight(lost=lines[-1])
    return sight


def _seen(sight: Sight, storage: Storage, left: Path, word: str) -> Sight:
    """Look for what a node says it has written."""
    if sight.storage or sight.lost or (storage.exists(left) and storage.read_text(left) == word):
        return sight
    return replace(sight, storage="the driver does not see what it writes there")


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def where_trials_run(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the living nodes that have CPUs: a head is often without, and runs no trials."""
    return [node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


def findings(home: str, sights: Mapping[str, Sight], mine: Mapping[str, str]) -> list[Finding]:
    """Return what the nodes' answers mean: one line a subject where all is well, one a node where it is not.

    `mine` are the driver's own versions.
    """
    answers = {node: sight for node, sight in sights.items() if not sight.lost}
    lost = "look at the node's log; where it has no limbeck, submit ships it: limbeck submit, or install it there"
    found = [Finding("nodes", f"{node}: {sight.lost}", lost) for node, sight in sights.items() if sight.lost]
    all_of = f"all {len(answers)} nodes" if len(answers) > 1 else "the node"
    return [*found, *_subjects(home, answers, mine, all_of)] if answers else found


def _subjects(home: str, sights: Mapping[str, Sight], mine: Mapping[str, str], all_of: str) -> list[Finding]:
    shared = f"mount one storage at {home} on every node, or give a --home that lies on one"
    if "://" in home:
        shared = "give every node the store's keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and a way to it"
    reach = "open the way from that node to the database, and set PGPASSWORD or PGPASSFILE there"
    storage = [Finding("storage", f"{node}: {home}: {s.storage}", shared) for node, s in sights.items() if s.storage]
    database = [Finding("database", f"{node}: {s.database}", reach) for node, s in sights.items() if s.database]
    return [
        *(storage or [Finding("storage", f"{home}: seen and written by {all_of}")]),
        *database,
        *_disk(home, sights),
        *_versions(sights, mine, all_of),
    ]


def _disk(home: str, sights: Mapping[str, Sight]) -> list[Finding]:
    least = min((sight.free_bytes for sight in sights.values() if not sight.storage), default=0)
    if least >= LEAST_FREE_BYTES:
        return [Finding("disk", f"{home}: {least / _GIB:.0f} GiB free")]
    return [Finding("disk", f"{home}: {least / 2**20:.0f} MiB free, and a sweep wants 1 GiB", "make room there")]


def _versions(sights: Mapping[str, Sight], mine: Mapping[str, str], all_of: str) -> list[Finding]:
    found = []
    for node, sight in sights.items():
        other = [f"{name} {there} (here {mine[name]})" for name, there in sight.versions.items() if there != mine[name]]
        if other:
            mend = "install the same versions on every node: constraints.txt pins them, and deploy/Dockerfile uses it"
            found.append(Finding("versions", f"{node}: {', '.join(other)}", mend))
    return found or [Finding("versions", f"{all_of}: {', '.join(f'{name} {here}' for name, here in mine.items())}")]


def check(storage: Storage, database: str) -> None:
    """Ask all nodes that run trials. UserError: some of them could not; Ray must be connected."""
    import ray

    sights = ask_nodes(storage, database, where_trials_run(ray.nodes()))
    refuse(findings(storage.shown(storage.folder), sights, versions()))


def refuse(found: Sequence[Finding]) -> None:
    """Raise a UserError with everything that is wrong."""
    problems = [Problem(finding.name, f"{finding.what}: {finding.mend}") for finding in found if not finding.fine]
    if problems:
        raise UserError(*problems)

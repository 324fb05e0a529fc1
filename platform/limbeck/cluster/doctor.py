"""`limbeck doctor`: what would keep a sweep from running here or on a cluster, and how to mend each thing."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from limbeck.archives import MODELS, model_folder
from limbeck.cache import Cache
from limbeck.cluster import probe, session
from limbeck.cluster.probe import Finding
from limbeck.cluster.slots import check_disk, slots
from limbeck.cluster.upload import pack
from limbeck.errors import UserError
from limbeck.misfits import plan_misfits
from limbeck.models import check_same_vocabulary, load_tokenizer
from limbeck.plan import Plan
from limbeck.storage import Storage
from limbeck.store import StoreError
from limbeck.store.database import Address
from limbeck.store.health import database_state

_NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre")
_MOUNTS = Path("/proc/self/mounts")
_TOKEN_FILE = Path(".ray") / "auth_token"


@dataclass(frozen=True)
class Place:
    """What is to be examined."""

    home: Path
    database: str
    cache_root: Path
    address: str | None
    """Of a Ray cluster to connect to; None starts Ray on this machine."""
    plan: Plan | None
    uri: str = ""
    """Of an object store that holds the runs."""

    @property
    def storage(self) -> Storage:
        """The home, wherever it is."""
        return Storage(self.home, self.uri)


def examine(place: Place) -> Iterator[Finding]:
    """Yield findings as they come; those of a subject that could not be examined at all say why."""
    yield installed()
    yield from _guarded("disk", lambda: _disks(place))
    yield from _guarded("database", lambda: _database(place.database))
    yield from token(Path.home())
    yield from _guarded("ray", lambda: _cluster(place))
    if place.plan is not None:
        plan = place.plan
        yield from _guarded("plan", lambda: _plan(plan, Cache(place.cache_root)))
        yield from _guarded("vocabularies", lambda: _vocabularies(plan, Cache(place.cache_root)))
    yield from _guarded("upload", lambda: _upload(place.plan))


def _guarded(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Turn what a user can mend into findings: the problem's own words say how."""
    try:
        yield from look()
    except UserError as error:
        for problem in error.problems:
            yield Finding(name, problem.where or "cannot be used", problem.what)


def installed() -> Finding:
    """Say whether the libraries here are those that limbeck was made for."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("limbeck") or ()]
    except metadata.PackageNotFoundError:
        return Finding("libraries", "limbeck runs from an upload; the nodes' versions are compared below")
    wrong = [
        f"{need.name} {found or 'is missing'}, limbeck needs {need.specifier}"
        for need in wanted
        if need.marker is None
        and not ((found := _version(need.name)) and need.specifier.contains(found, prereleases=True))
    ]
    if wrong:
        return Finding(
            "libraries", "; ".join(wrong), "pip install -c constraints.txt limbeck, in an environment of its own"
        )
    return Finding("libraries", ", ".join(f"{name} {version}" for name, version in probe.versions().items()))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _disks(place: Place) -> Iterator[Finding]:
    for name, folder in (("home", place.home), ("cache", place.cache_root)):
        check_disk(folder)
        yield Finding("disk", f"{name} {folder} can be written")
    if place.uri:
        place.storage.check()
        yield Finding("storage", f"{place.uri} can be written")


def _database(url: str) -> Iterator[Finding]:
    try:
        state = database_state(url)
    except StoreError as error:
        yield Finding("database", str(error), "mend that, or give another --database")
        return
    address = Address(url)
    kind = None if address.file is None else filesystem(address.file, _mounts())
    if kind in _NETWORK_DISKS:
        mend = "give --database postgresql+psycopg://…, or a file on a disk of the driver's machine"
        yield Finding("database", f"{address}: SQLite does not work on a network disk ({kind})", mend)
    else:
        yield Finding("database", f"{address}: {state}")


def _mounts() -> str:
    return _MOUNTS.read_text() if _MOUNTS.is_file() else ""


def filesystem(file: Path, mounts: str) -> str | None:
    """Return the kind of file system that a file lies or would lie on, by a table in the form of /proc/mounts."""
    kinds = {
        fields[1].replace("\\040", " "): fields[2] for line in mounts.splitlines() if len(fields := line.split()) > 2
    }
    return next((kinds[str(folder)] for folder in file.parents if str(folder) in kinds), None)


def token(user: Path) -> Iterator[Finding]:
    """Say where the token comes from. It is never shown, nor sent anywhere."""
    given = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or user / _TOKEN_FILE)
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        yield Finding(
            "token", "RAY_AUTH_MODE=disabled", "unset it: without tokens anybody who reaches Ray can run code"
        )
    elif "RAY_AUTH_TOKEN" not in given and file.is_file() and file.stat().st_mode & 0o077:
        yield Finding("token", f"{file} can be read by others", f"chmod 600 {file}")
    elif given == ["RAY_AUTH_TOKEN_PATH"] and not file.is_file():
        yield Finding(
            "token", f"RAY_AUTH_TOKEN_PATH names {file}, which is not there", "write the cluster's token to it"
        )
    elif given:
        yield Finding("token", f"from {given[0]}")
    else:
        yield Finding("token", f"from {file}" if file.is_file() else "none yet; Ray makes one for a cluster of its own")


def _cluster(place: Place) -> Iterator[Finding]:
    import ray

    with session.connected(place.address):
        living = [node for node in ray.nodes() if node["Alive"]]
        resources = session.nodes()
        total = {name: sum(node.get(name, 0.0) for node in resources) for name in ("CPU", "GPU")}
        sizes = ", ".join(f"{amount:g} {name}s" for name, amount in total.items())
        yield Finding("ray", f"{len(living)} node{'s' * (len(living) != 1)}, {sizes}")
        if place.address is not None and not session.sends_tokens():
            yield Finding("token", f"the cluster at {place.address} takes connections without one", session.OPEN)
        if place.plan is not None:
            yield from _guarded("resources", lambda: _resources(place.plan, resources))
        sights = probe.ask_nodes(place.storage, place.database, probe.where_trials_run(living))
        yield from probe.findings(place.storage.shown(place.home), sights, probe.versions())


def _resources(plan: Any, nodes: list[Any]) -> Iterator[Finding]:
    at_once = min(slots(plan.cluster, nodes), plan.trials)
    yield Finding("resources", f"{at_once} of {plan.trials} trials of {plan.name} run at once")


def _plan(plan: Plan, cache: Cache) -> Iterator[Finding]:
    problems = plan_misfits(plan, cache)
    if problems:
        raise UserError(*problems)
    yield Finding("plan", f"{plan.name}: {plan.trials} trials, all of which can run")


def _vocabularies(plan: Plan, cache: Cache) -> Iterator[Finding]:
    """Compare the tokenizers of all models that the plan names to work together."""
    seen: set[tuple[str, ...]] = set()
    ends = ({path: value} for path, domain in plan.vary.items() for value in domain.probes())
    for values in [cell.values for cell in plan.cells()] or [{}, *ends]:
        spec = plan.spec(values, plan.seeds[0])
        generator = getattr(getattr(spec.method, "generator", None), "base", None)
        teacher = spec.teacher.checkpoint or spec.teacher.fitted_here or ""
        roles = {"teacher": teacher, "student": spec.student.checkpoint, "generator": generator}
        names = {role: name for role, name in roles.items() if name is not None}
        if len(set(names.values())) > 1 and (key := tuple(names.values())) not in seen:
            seen.add(key)
            check_same_vocabulary({role: load_tokenizer(_folder(name, cache)) for role, name in names.items()})
    yield Finding("vocabularies", f"{len(seen)} sets of models share theirs" if seen else "the teacher's alone is used")


def _folder(name: str, cache: Cache) -> Path | str:
    return model_folder(name, cache) if name in MODELS else name


def _upload(plan: Plan | None) -> Iterator[Finding]:
    yield Finding("upload", f"{pack(plan, Path.cwd()).words} would go to a cluster")

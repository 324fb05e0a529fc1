"""What travels to a cluster with a sweep: the package, the plan, and the files it names beside itself. One archive."""

import hashlib
import io
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import limbeck
from limbeck.beside import named
from limbeck.cluster.slots import check_disk
from limbeck.errors import Problem, UserError
from limbeck.plan import Plan
from limbeck.yaml_strict import mapping

LIMIT_BYTES = 100 * 2**20
"""What Ray's job server takes."""
PLAN_FILE = "plan.yaml"
KEPT = "_files"
"""The folder in a home for what came with jobs. No sweep can have this name."""
EXCLUDED = frozenset(
    {".git", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    | {".ipynb_checkpoints", ".DS_Store", "_shipped"}
)
"""Names of files and folders that stay here. Plans travel by their text, and dashboards stay at home."""
_OFFENDERS = 5
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MIB = 2**20

Item = tuple[str, Path | bytes]
"""A name inside the archive, and what stands under it."""


@dataclass(frozen=True)
class Upload:
    """An archive, small enough to be taken."""

    data: bytes
    names: tuple[str, ...]

    @property
    def words(self) -> str:
        """Its size as people read it."""
        return f"{len(self.data) / _MIB:.1f} of {LIMIT_BYTES / _MIB:.0f} MiB in {len(self.names)} files"


def pack(plan: Plan | None, folder: Path, limit_bytes: int = LIMIT_BYTES) -> Upload:
    """Pack the installed package, and with a plan its text and the files below `folder` that it names.

    Equal content makes equal bytes, so that Ray uploads it once. UserError: a file is missing or lies outside `folder`,
    or the archive would be larger than the cluster takes; then the largest files are named.
    """
    items = list(_package())
    if plan is not None:
        items.append((PLAN_FILE, plan.text.encode()))
        items += beside(plan, folder)
    buffer, sizes = io.BytesIO(), {}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in items:
            before = buffer.tell()
            _add(archive, name, source)
            sizes[name] = buffer.tell() - before
            if buffer.tell() > limit_bytes:
                raise UserError(*_too_large(items, sizes, limit_bytes))
    return Upload(buffer.getvalue(), tuple(sizes))


def keep(plan: Plan, folder: Path, home: Path) -> Path:
    """Copy the files below `folder` that the plan names into the home, and return the folder that they lie in there.

    A job's own folder ends with the cluster's session. Equal files are kept once, under one path for every job.
    UserError: a file is missing, or the home cannot be written.
    """
    items = beside(plan, folder)
    if not items:
        return folder
    check_disk(home)
    digest = hashlib.sha256()
    for name, path in items:
        with path.open("rb") as file:
            digest.update(f"{name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    kept = home / KEPT / digest.hexdigest()[:12]
    if not kept.is_dir():
        # Under its name when it is whole; a job that was quicker has made the same.
        draft = kept.with_name(f"{kept.name}.{uuid.uuid4().hex[:8]}")
        for name, path in items:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, draft / name)
        try:
            draft.rename(kept)
        except OSError:
            shutil.rmtree(draft)
            if not kept.is_dir():
                raise
    return kept


def _add(archive: zipfile.ZipFile, name: str, source: Path | bytes) -> None:
    # Times would make equal content differ.
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    if isinstance(source, bytes):
        archive.writestr(entry, source)
        return
    entry.file_size = source.stat().st_size
    with source.open("rb") as file, archive.open(entry, "w") as out:
        while block := file.read(_MIB):
            out.write(block)


def _too_large(items: list[Item], sizes: dict[str, int], limit_bytes: int) -> list[Problem]:
    """Name the largest files: packed size where they were reached, plain size otherwise."""
    for name, source in items:
        if name not in sizes:
            sizes[name] = len(source) if isinstance(source, bytes) else source.stat().st_size
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_OFFENDERS]
    way_out = "keep large files on a storage that every node sees, and name them by their absolute path"
    told = Problem("upload", f"larger than the {limit_bytes / _MIB:.0f} MiB that a cluster takes; {way_out}. Largest:")
    return [told, *(Problem(f"  {name}", f"{sizes[name] / _MIB:.1f} MiB") for name in largest)]


def _package() -> Iterator[Item]:
    root = Path(limbeck.__file__).parent
    for path in _files(root):
        yield (PurePosixPath("limbeck") / path.relative_to(root).as_posix()).as_posix(), path


def _files(root: Path) -> Iterator[Path]:
    """Yield every file below a folder that is not excluded, in the order of names."""
    for path in sorted(root.iterdir()):
        if path.name in EXCLUDED:
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def beside(plan: Plan, folder: Path) -> list[tuple[str, Path]]:
    """Return what the plan names by relative paths: those would mean nothing on another machine.

    UserError: a file is missing, or something lies outside `folder`.
    """
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for one in named(mapping(plan.text, plan.name)):
        path = folder / one.name
        if not path.exists():
            if one.file:
                problems.append(Problem(one.where, f"no such file here: {one.name}"))
        elif not path.resolve().is_relative_to(folder.resolve()):
            way_out = "submit from a folder above it, or give a path that every node sees"
            problems.append(Problem(one.where, f"{one.name} lies outside {folder}: {way_out}"))
        elif path.is_dir():
            found |= {file.relative_to(folder).as_posix(): file for file in _files(path)}
        else:
            found[path.relative_to(folder).as_posix()] = path
    if problems:
        raise UserError(*problems)
    return sorted(found.items())

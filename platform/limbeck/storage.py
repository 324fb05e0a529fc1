"""Where runs are kept: a folder that all nodes see, or an object store with a copy of what is at work on each node."""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from limbeck.config import content_hash
from limbeck.errors import Problem, UserError

SCHEMES = ("s3", "gs")
_COPIES = "homes"
_PATIENCE_SECONDS = 300.0
_RETRY_SECONDS = 5.0
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Storage:
    """A folder on this machine and, where `uri` is given, the place in an object store that it is a copy of.

    All paths are those on this machine, below `folder`. Without a URI the folder itself is the storage: what reads and
    writes there needs no help, and `fetch` and `Trail.push` do nothing.
    """

    folder: Path
    uri: str = ""

    @property
    def remote(self) -> bool:
        """Whether the folder is a copy."""
        return bool(self.uri)

    def below(self, name: str) -> "Storage":
        """Return the part of the storage under a name."""
        return replace(self, folder=self.folder / name, uri=f"{self.uri}/{name}" if self.uri else "")

    def shown(self, path: Path) -> str:
        """Return how others find what lies at `path` here: its URI, or the path itself."""
        if not self.uri:
            return str(path)
        inside = path.relative_to(self.folder).as_posix()
        return self.uri if inside == "." else f"{self.uri}/{inside}"

    def write_text(self, path: Path, text: str) -> None:
        """Write a small file, whole or not at all for those that read it from the store. OSError: it cannot be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_name(f".{path.name}.new")
        work.write_text(text)
        work.rename(path)
        if self.uri:
            _upload(path, self.shown(path))

    def read_text(self, path: Path) -> str:
        """Return a small file as it is in the storage now. FileNotFoundError: it is not there."""
        if not self.uri:
            return path.read_text()
        files, at = _open(self.shown(path))
        with files.open_input_stream(at) as stream:
            return bytes(stream.read()).decode()

    def exists(self, path: Path) -> bool:
        """Say whether a file is in the storage now."""
        if not self.uri:
            return path.exists()
        files, at = _open(self.shown(path))
        return bool(files.get_file_info(at).is_file)

    def fetch(self, path: Path) -> None:
        """Make the folder at `path` a copy of what is in the storage, empty where there is nothing.

        Files that were fetched before and have not changed stay; so do hidden ones, which are this machine's own.
        """
        if not self.uri:
            return
        path.mkdir(parents=True, exist_ok=True)
        there = dict(_below(self.shown(path)))
        for name in _plain_files(path).keys() - there.keys():
            (path / name).unlink()
        for name, info in there.items():
            target = path / name
            if not (target.is_file() and _mark(target) == (info.mtime_ns, info.size)):
                _download(self.shown(target), target, info.mtime_ns)

    def remove(self, path: Path) -> None:
        """Remove a folder here and in the storage; it may be gone already."""
        shutil.rmtree(path, ignore_errors=True)
        if self.uri:
            files, at = _open(self.shown(path))
            with suppress(FileNotFoundError):
                files.delete_dir(at)

    def discard(self, path: Path) -> None:
        """Remove a folder that is of no more use; where the store is away it stays there, and a line is logged."""
        try:
            self.remove(path)
        except OSError as error:
            log.warning("%s stays: %s", self.shown(path), reason(error))

    def leave(self, path: Path) -> None:
        """Drop this machine's copy of a folder; a folder that is no copy stays."""
        if self.uri:
            shutil.rmtree(path, ignore_errors=True)

    def insist(self, act: Callable[[], T]) -> T:
        """Return what `act` does, tried again while the store is away. OSError: for five minutes; a disk, at once."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return act()
            except OSError as error:
                # That a file is not there is an answer.
                if not self.uri or isinstance(error, FileNotFoundError) or time.monotonic() >= end:
                    raise
                log.warning("%s does not answer: %s", self.uri, reason(error))
                time.sleep(_RETRY_SECONDS)

    def check(self) -> None:
        """Write something and remove it. UserError: the store does not let us, or there is none."""
        if self.uri:
            probe = self.folder / f".probe-{uuid.uuid4().hex[:8]}"
            try:
                self.write_text(probe / "driver", "x")
                self.remove(probe)
            except OSError as error:
                raise UserError(Problem(self.uri, f"runs cannot be kept here: {reason(error)}")) from None
            finally:
                self.leave(probe)


HERE = Storage(Path())
"""Any folder of this machine."""


class Trail:
    """What this process has put into the storage of one folder: the next `push` takes only what is new."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._known: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Begin with what is in the storage."""
        if self._storage.remote:
            self._storage.fetch(self._folder)
            self._known = _plain_files(self._folder)

    def push(self, *last: str) -> None:
        """Bring new and changed files to the storage, those named in `last` after all others; drop what is gone here.

        Hidden files and folders stay.
        """
        if not self._storage.remote:
            return
        now = _plain_files(self._folder)
        for name in sorted(now, key=lambda name: (name in last, name)):
            if now[name] != self._known.get(name):
                _upload(self._folder / name, self._storage.shown(self._folder / name))
        for name in self._known.keys() - now.keys():
            files, at = _open(self._storage.shown(self._folder / name))
            files.delete_file(at)
        self._known = now


def _plain_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return a folder's files, however deep, that are not hidden: name -> (time, size)."""
    inside = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    hidden = {name for name in inside if any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): _mark(path) for name, path in inside.items() if name not in hidden}


def _mark(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def storage_at(home: str, cache_root: Path) -> Storage:
    """Return the storage at a folder's path or an object store's URI. UserError: it is neither."""
    if "://" not in home:
        return Storage(Path(home).absolute())
    parts = urlsplit(home)
    if parts.scheme not in SCHEMES or not parts.hostname:
        allowed = ", ".join(f"{scheme}://bucket/path" for scheme in SCHEMES)
        raise UserError(Problem("--home", f"a home is a folder or one of {allowed}; got '{_without_keys(home)}'"))
    if "@" in parts.netloc or parts.query:
        what = "give keys and settings of the store by the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL), not here"
        raise UserError(Problem("--home", f"{_without_keys(home)}: {what}: others read this address"))
    uri = home.rstrip("/")
    return Storage(cache_root / _COPIES / content_hash(uri, 16), uri)


def _without_keys(home: str) -> str:
    parts = urlsplit(home)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def reason(error: OSError) -> str:
    """Return an error's cause in a line: object stores' errors have no number."""
    return error.strerror or (str(error).splitlines() or [type(error).__name__])[0]


@cache
def _store(root: str) -> Any:
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(root)[0]


def _open(uri: str) -> tuple[Any, str]:
    """Return a file system and a path in it."""
    parts = urlsplit(uri)
    # The first question to a store looks for its region: once is enough.
    return _store(f"{parts.scheme}://{parts.netloc}"), f"{parts.netloc}{parts.path}"


def _upload(path: Path, uri: str) -> None:
    files, at = _open(uri)
    with path.open("rb") as source, files.open_output_stream(at) as out:
        shutil.copyfileobj(source, out, 2**20)


def _download(uri: str, path: Path, time_ns: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.new")
    files, at = _open(uri)
    with files.open_input_stream(at) as source, work.open("wb") as out:
        shutil.copyfileobj(source, out, 2**20)
    os.utime(work, ns=(time_ns, time_ns))
    work.rename(path)


def _below(uri: str) -> Iterator[tuple[str, Any]]:
    """Yield the files below a URI by their names from there.

    Names come from a store that others may write to: one that would lead out of the folder is passed over.
    """
    from pyarrow.fs import FileSelector

    files, at = _open(uri)
    for info in files.get_file_info(FileSelector(at, recursive=True, allow_not_found=True)):
        name = PurePosixPath(info.path).relative_to(at)
        if info.is_file and ".." not in name.parts:
            yield name.as_posix(), info


def fetched(home: Storage, sweep: str, trial: str) -> Path:
    """Copy a trial's student out of an object store, where it has changed since; return its folder on this machine.

    UserError: the store does not answer, or refuses.
    """
    aside = replace(home, folder=home.folder.with_name(f"{home.folder.name}-students"))
    folder = aside.folder / sweep / trial / "student"
    try:
        aside.fetch(folder)
    except OSError as error:
        raise UserError(Problem(home.uri, f"cannot be read: {reason(error)}")) from None
    return folder

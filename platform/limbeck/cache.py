"""A folder of things that are costly to make, each named by the content of what it was made from."""

import json
import logging
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from filelock import FileLock

from limbeck.config import content_hash

log = logging.getLogger(__name__)
_SEAL = "seal.json"


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file: enough to tell a torn or rotten file from a whole one."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def seal(folder: Path, **facts: Any) -> None:
    """Write `seal.json` into `folder`: size and checksum of every file, beside `facts`."""
    files = {
        str(p.relative_to(folder)): {"bytes": p.stat().st_size, "crc32": checksum(p)}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != _SEAL
    }
    (folder / _SEAL).write_text(json.dumps({"files": files, **facts}, indent=1))


def broken(folder: Path, *, deep: bool = True) -> str | None:
    """Say what is wrong with a sealed folder, or None. Without `deep` only sizes are compared, not contents."""
    try:
        files = json.loads((folder / _SEAL).read_text())["files"]
        sealed = [(str(name), was["bytes"], was["crc32"]) for name, was in files.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"no readable {_SEAL} ({type(error).__name__})"
    for name, size, crc32 in sealed:
        path = folder / name
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            return f"{_SEAL} names a file outside the folder"
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or cut short"
        if deep and checksum(path) != crc32:
            return f"{name} does not match its checksum"
    return None


class Cache:
    """Folders made once per machine: looked up by kind and key, built under a lock, sealed, and rebuilt when broken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: set[Path] = set()
        self.hits: dict[str, int] = {}
        self.misses: dict[str, int] = {}

    def folder(self, kind: str, key: Any, build: Callable[[Path], None]) -> Path:
        """Return the sealed folder for `key` (any JSON value), calling `build(empty_folder)` when there is none.

        Only one process builds; others wait for it. A folder that was damaged is rebuilt with a warning.
        """
        folder = self.root / kind / content_hash(key, 20)
        if folder in self._checked and folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if folder.exists() and (fault := broken(folder)):
                log.warning("cache: %s %s is damaged (%s); it is built again", kind, folder.name, fault)
                shutil.rmtree(folder)
            if folder.exists():
                self.hits[kind] = self.hits.get(kind, 0) + 1
            else:
                self.misses[kind] = self.misses.get(kind, 0) + 1
                self._build(folder, key, build)
        self._checked.add(folder)
        return folder

    def _build(self, folder: Path, key: Any, build: Callable[[Path], None]) -> None:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            build(work)
            seal(work, key=key)
            work.rename(folder)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise

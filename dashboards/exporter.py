"""Has `limbeck export` write a student in another format, in a process of its own: a page loads no torch.

One at a time, whoever asks; the latest few are kept in a temporary folder until the server ends.
"""

import atexit
import io
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FORMATS = {"hf": "Hugging Face folder", "onnx": "ONNX", "onnx-int8": "ONNX, int8"}
KEPT_MOST = 4
_WORDS_MOST = 2000


@dataclass(frozen=True)
class Wanted:
    """A student in a format."""

    database: str
    sweep: str
    trial: str
    form: str


@dataclass(frozen=True)
class Made:
    """How far an export is."""

    state: Literal["none", "busy", "running", "done", "failed"]
    seconds: float = 0.0
    folder: Path | None = None
    said: str = ""
    """The last words of the command."""


@dataclass
class _Job:
    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    began: float


def command(wanted: Wanted, folder: Path) -> Sequence[str]:
    """Return the command; where the results are stands in the environment, as it does for this server."""
    options = [f"--trial={wanted.trial}", f"--format={wanted.form}", f"--to={folder}"]
    return [sys.executable, "-m", "limbeck.cli", "export", *options, "--", wanted.sweep]


class Exports:
    """The exports of this server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._home = tempfile.TemporaryDirectory(prefix="limbeck-exports-")
        self._jobs: dict[Wanted, _Job] = {}
        self._count = 0
        atexit.register(self.close)

    def close(self) -> None:
        """Stop what runs and remove what was made."""
        with self._lock:
            for job in self._jobs.values():
                if job.process.poll() is None:
                    job.process.kill()
                    job.process.wait()
            self._jobs.clear()
            self._home.cleanup()

    def start(self, wanted: Wanted) -> None:
        """Begin an export, unless another one is running."""
        with self._lock:
            if any(job.process.poll() is None for job in self._jobs.values()):
                return
            self._jobs.pop(wanted, None)
            while len(self._jobs) >= KEPT_MOST:
                self._jobs.pop(next(iter(self._jobs)))
            self._tidy()
            self._count += 1
            place = Path(self._home.name) / str(self._count)
            place.mkdir()
            folder, log = place / "student", place / "log"
            with log.open("wb") as words:
                process = subprocess.Popen(
                    command(wanted, folder), stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
                )
            self._jobs[wanted] = _Job(process, folder, log, time.monotonic())

    def _tidy(self) -> None:
        kept = {job.folder.parent for job in self._jobs.values()}
        for place in Path(self._home.name).iterdir():
            if place not in kept:
                shutil.rmtree(place, ignore_errors=True)

    def state(self, wanted: Wanted) -> Made:
        """Return how far an export is."""
        with self._lock:
            job = self._jobs.get(wanted)
            if job is None:
                others = any(job.process.poll() is None for job in self._jobs.values())
                return Made("busy" if others else "none")
            code = job.process.poll()
            if code is None:
                return Made("running", time.monotonic() - job.began)
            said = job.log.read_text(errors="replace")[-_WORDS_MOST:].strip()
            return Made("done", folder=job.folder, said=said) if code == 0 else Made("failed", said=said)


def zipped(folder: Path, name: str) -> bytes:
    """Return a folder's files as a zip, below one folder of that name. Weights do not shrink: stored as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, f"{name}/{path.relative_to(folder)}")
    return out.getvalue()


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

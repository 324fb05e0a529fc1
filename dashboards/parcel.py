"""A trial's student as a zip: the Hugging Face folder it left, with a card of what is known about it."""

import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import platformdirs

import words
from limbeck.errors import UserError
from limbeck.storage import fetched, storage_at
from limbeck.store import SweepRow, TrialRow

CARD = "README.md"
_ENDINGS = (".json", ".txt", ".safetensors", ".model", ".md", ".jinja")
"""What a student's folder is made of; anything else in it stays where it is."""
_IN_MEMORY = 8 * 2**20


@dataclass(frozen=True)
class Student:
    """A student's folder on this machine."""

    folder: Path
    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files)


def find_student(trial: TrialRow, home: Path | str) -> Student | None:
    """Return the folder a trial left; one whose home was moved is found by its place in it. None: not here.

    From a home in an object store it is copied first, where it has changed since.

    Only plain files of a model, directly in a folder `student`, are taken: the database says where to look, and it
    may have been written by somebody else.
    """
    places = [Path(trial.folder) / "student"] if trial.folder else []
    if _plain(trial.sweep) and _plain(trial.trial):
        places.append(_below(str(home), trial))
    for folder in places:
        if (folder / "config.json").is_file():
            files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.is_symlink() and p.suffix in _ENDINGS]
            if any(p.suffix == ".safetensors" for p in files):
                return Student(folder, tuple(files))
    return None


def _below(home: str, trial: TrialRow) -> Path:
    if "://" not in home:
        return Path(home) / trial.sweep / trial.trial / "student"
    kept = Path(os.environ.get("LIMBECK_CACHE") or platformdirs.user_cache_path("limbeck"))
    try:
        return fetched(storage_at(home, kept), trial.sweep, trial.trial)
    except UserError:
        return Path(os.devnull)


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and PurePosixPath(name).name == name and "\\" not in name


def pack(student: Student, card: str, name: str) -> IO[bytes]:
    """Return a zip of the student's files and its card, all below one folder. Weights do not shrink: stored as is."""
    out: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - who asked for it closes it
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in student.files:
            if path.name != CARD:
                with path.open("rb") as source, archive.open(f"{name}/{path.name}", "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 2**20)
        archive.writestr(f"{name}/{CARD}", card)
    out.seek(0)
    return out


def packed(student: Student, card: str, name: str) -> bytes:
    """Return the zip as bytes: what the download takes."""
    with pack(student, card, name) as parcel:
        buffer = io.BytesIO()
        shutil.copyfileobj(parcel, buffer)
    return buffer.getvalue()


def card(sweep: SweepRow, trial: TrialRow) -> str:
    """Return what is known about a student as Markdown; text from data stands for itself."""
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "---",
        "",
        f"# Student {words.literal(trial.trial)} of {words.literal(sweep.name)}",
        "",
        f"Distilled with limbeck for the task {words.literal(sweep.task)}.",
        "",
        "| measure | value |",
        "|---|---:|",
        f"| retention on the test split | {words.percent(trial.retention)} |",
        f"| parameters | {words.count(trial.parameters)} |",
        f"| training time | {words.duration(trial.seconds or None)} |",
        f"| seed | {trial.seed} |",
        "",
        "| test set | measure | student | teacher |",
        "|---|---|---:|---:|",
    ]
    lines += [f"| {' | '.join(map(words.literal, row))} |" for row in tests_of(trial.metrics)]
    lines += ["", "## Settings that were varied", ""]
    lines += [f"- {words.literal(path)}: {words.literal(words.value_text(v))}" for path, v in trial.values.items()]
    if not trial.values:
        lines += ["None: this is the plan's base trial."]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'folder = "path/to/this/folder"',
        'classify = pipeline("text-classification", folder)',
        "```",
        "",
        "These are the trial's own files. `limbeck export` writes the same model with a full card and a manifest, and",
        "proves in a fresh process that it gives the same answers.",
    ]
    return "\n".join(lines) + "\n"


def tests_of(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (test set, measure, student's, teacher's) of what was read when the trial ended, the task's own first."""
    splits = {n.split("/")[1] for n in metrics if n.startswith("teacher/") and n.count("/") == 2} - {"selection"}
    every = sorted({name.removeprefix("teacher/") for name in metrics})
    rows = []
    for split in sorted(splits, key=lambda name: (name != "test", name)):
        for name in (name for name in every if name.startswith(f"{split}/")):
            measure = name.removeprefix(f"{split}/")
            title = measure if measure == "retention" else words.metric_title(measure)
            student, teacher = (words.number(metrics.get(n), measure) for n in (name, f"teacher/{name}"))
            rows.append((split, title, student, teacher))
    return rows

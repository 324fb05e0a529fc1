"""Exporting a student: a Hugging Face folder with card and manifest, proven in a fresh process before it appears."""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from limbeck.card import model_card
from limbeck.config import content_hash
from limbeck.errors import Problem, UserError
from limbeck.metrics import evaluate
from limbeck.predictor import Predictor, fresh_logits
from limbeck.tasks.task import Examples, Source

MANIFEST = "manifest.json"
KIND = "limbeck export"
TOLERANCE = 1e-4
"""Largest difference of a logit between the trained student and the exported one, fp32."""
METRIC_TOLERANCE = 0.02
COMPARED_ROWS = 256
_PACKAGES = ("limbeck", "torch", "transformers", "tokenizers", "safetensors")


class ExportFailed(Exception):
    """The export did not prove equal to the student; nothing was left at the target."""


@dataclass(frozen=True)
class Facts:
    """Everything that is known about a student when it leaves."""

    sweep: str
    trial: str
    plan: str
    """The plan as YAML, after overrides."""
    spec: Mapping[str, Any]
    """The trial, as `TrialSpec.model_dump(mode="json")`."""
    task: str
    classes: tuple[str, ...]
    """Empty for regression."""
    metric: str
    metrics: Mapping[str, float]
    retention: float | None
    """On the held-out test split."""
    chosen_from: int
    """Complete trials the student was the best of; 1 when it was named."""
    sources: tuple[Source, ...]
    """Data and base models, with licences."""
    data_fingerprint: str
    created: datetime


@dataclass(frozen=True)
class Exported:
    """What an export turned out to be."""

    folder: Path
    difference: float
    """Largest absolute difference of a logit from the trained student's."""
    rows: int
    """Test rows that the exported folder classified in a fresh process."""
    value: float
    """The task's metric on them."""


def export_hf(student: Path, to: Path, facts: Facts, probe: Examples) -> Exported:
    """Write the student as a folder that `AutoModelForSequenceClassification.from_pretrained` loads.

    `probe` is the task's test split: the folder must reproduce the student's logits on its first rows, and its metric
    is measured on all of them, in a new process. `to` appears whole or not at all. UserError: `to` holds something
    else than an earlier export. ExportFailed: the folder does not load or differs from the student.
    """
    if not (student / "config.json").is_file():
        raise UserError(Problem(f"trial {facts.trial}", f"its student is gone: no {student / 'config.json'}"))
    _check_target(to)

    def fill(folder: Path) -> Exported:
        _copy_model(student, folder, facts)
        done = _prove(student, folder, facts, probe)
        measured = {"difference": done.difference, "rows": done.rows, f"test/{facts.metric}": done.value}
        manifest = _manifest(facts, measured, probe)
        (folder / "README.md").write_text(model_card(manifest))
        manifest["files"] = {p.name: _sha256(p) for p in sorted(folder.iterdir())}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
        return done

    done = _whole_or_nothing(to, fill)
    return Exported(to, done.difference, done.rows, done.value)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an export, or None where `folder` is something else."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kind") == KIND else None


def _check_target(to: Path) -> None:
    if to.exists() and not to.is_dir():
        raise UserError(Problem(str(to), "is a file; give a folder that is new, empty, or an earlier export"))
    if to.is_dir() and any(to.iterdir()) and read_manifest(to) is None:
        raise UserError(Problem(str(to), "holds other files; give a folder that is new, empty, or an earlier export"))


def _whole_or_nothing(to: Path, fill: Callable[[Path], Exported]) -> Exported:
    """Fill a folder beside `to` and put it in its place only when that succeeded."""
    to = to.absolute()
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise UserError(Problem(str(to), f"cannot be written: {error.strerror}")) from error
    try:
        done = fill(work)
        # mkdtemp's folder is for its owner alone; an export is made to be handed on.
        work.chmod(0o755)
        _swap(work, to)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise UserError(Problem(str(to), f"cannot be written: {error.strerror}")) from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return done


def _swap(work: Path, to: Path) -> None:
    """Rename `work` to `to`; an earlier export there goes only when the new one has taken its place."""
    old = work.with_name(f"{work.name}-old")
    if to.exists():
        to.rename(old)
    try:
        work.rename(to)
    except OSError:
        if old.exists():
            old.rename(to)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _copy_model(student: Path, folder: Path, facts: Facts) -> None:
    """Copy weights and tokenizer; name the classes and the length at which texts are cut."""
    for path in student.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text())
    if facts.classes:
        config["id2label"] = {str(i): name for i, name in enumerate(facts.classes)}
        config["label2id"] = {name: i for i, name in enumerate(facts.classes)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    settings = folder / "tokenizer_config.json"
    tokenizer = json.loads(settings.read_text()) if settings.is_file() else {}
    tokenizer["model_max_length"] = _max_tokens(facts)
    settings.write_text(json.dumps(tokenizer, indent=2) + "\n")


def _max_tokens(facts: Facts) -> int:
    return int(facts.spec["training"]["max_tokens"])


def _prove(student: Path, folder: Path, facts: Facts, probe: Examples) -> Exported:
    """Let a new process classify the probe with the folder, and compare with the student in this one."""
    first = [column[:COMPARED_ROWS] for column in probe.columns]
    trained = Predictor(student, _max_tokens(facts)).logits(first)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            logits = fresh_logits(folder, probe.columns, Path(scratch))
        except RuntimeError as error:
            raise ExportFailed(str(error)) from error
    if logits.shape[1] != trained.shape[1]:
        raise ExportFailed(f"the exported model has {logits.shape[1]} outputs, the student {trained.shape[1]}")
    difference = float(np.abs(logits[: len(trained)] - trained).max(initial=0.0))
    if not difference <= TOLERANCE:
        raise ExportFailed(f"logits of the exported model differ by {difference:.2g}, more than {TOLERANCE:g}")
    value = evaluate(facts.metric, probe.scored(logits), probe.labels)
    recorded = facts.metrics.get(f"test/{facts.metric}", math.nan)
    # A trial may evaluate in bf16, which turns a few close rows; more than that means texts are read differently.
    if abs(value - recorded) > METRIC_TOLERANCE + 2 / len(probe):
        raise ExportFailed(f"{facts.metric} on the test split is {value:.4f}; the trial recorded {recorded:.4f}")
    return Exported(folder, difference, len(probe), value)


def _manifest(facts: Facts, measured: Mapping[str, float], probe: Examples) -> dict[str, Any]:
    """Return everything a later reader may ask, as plain JSON values."""
    return {
        "kind": KIND,
        "format": "hf",
        "created": facts.created.isoformat(timespec="seconds"),
        "sweep": facts.sweep,
        "trial": facts.trial,
        "chosen_from": facts.chosen_from,
        "task": {
            "name": facts.task,
            "classes": list(facts.classes),
            "metric": facts.metric,
            "text_columns": len(probe.columns),
            "fingerprint": facts.data_fingerprint,
        },
        "retention": facts.retention,
        "metrics": {name: _finite(value) for name, value in sorted(facts.metrics.items())},
        "export": {name: _finite(value) for name, value in measured.items()},
        "plan_hash": content_hash(facts.plan, 64),
        "plan": facts.plan,
        "spec": dict(facts.spec),
        "sources": [{"name": s.name, "licence": s.licence, "origin": s.origin} for s in facts.sources],
        "versions": {"python": python_version(), **{name: version(name) for name in _PACKAGES}},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

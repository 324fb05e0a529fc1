"""Exporting a student: a folder with card and manifest, proven in a fresh process before it appears."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from limbeck.card import model_card
from limbeck.config import content_hash
from limbeck.errors import Problem, UserError
from limbeck.export.facts import Confirmation, Exported, ExportFailed, Facts
from limbeck.export.formats import FORMATS, max_tokens, write_model
from limbeck.export.place import check_target, whole_or_nothing
from limbeck.export.proof import Proof, prove
from limbeck.manifest import KIND, MANIFEST, TEXT_COLUMNS
from limbeck.predictor import Predictor
from limbeck.tasks.task import Examples

__all__ = ["FORMATS", "Confirmation", "ExportFailed", "Exported", "Facts", "export_student"]

_PACKAGES = ("limbeck", "torch", "transformers", "tokenizers", "safetensors")
_GRAPH_PACKAGES = ("onnx", "onnxruntime")


def export_student(form: str, student: Path, to: Path, facts: Facts, splits: Mapping[str, Examples]) -> Exported:
    """Write the student in one of `FORMATS`, with tokenizer, calibration, card and manifest.

    `splits` are the task's `selection`, `test` and other test sets: the folder must reproduce the student's logits,
    its numbers are measured and its temperature is fitted on them in a new process. `to` appears whole or not at all.
    UserError: `to` holds something else than an earlier export, or the student does not load. ExportFailed: the folder
    does not load or differs from the student.
    """
    if not (student / "config.json").is_file():
        raise UserError(Problem(f"trial {facts.trial}", f"its student is gone: no {student / 'config.json'}"))
    check_target(to)
    wanted, trained = FORMATS[form], Predictor(student, max_tokens(facts))

    def fill(folder: Path) -> Exported:
        write_model(wanted, student, folder, facts)
        proof = prove(trained, folder, wanted, facts, splits)
        if proof.calibration is not None:
            proof.calibration.write(folder)
        manifest = _manifest(form, facts, proof, text_columns=len(splits["test"].columns))
        manifest["bytes"] = sum(path.stat().st_size for path in folder.iterdir())
        (folder / "README.md").write_text(model_card(manifest))
        manifest["files"] = {p.name: _sha256(p) for p in sorted(folder.iterdir())}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n")
        test = proof.test
        value = math.nan if test.value is None else test.value
        return Exported(to, proof.difference, test.rows, value, test.retention, manifest["bytes"] / 1e6)

    return whole_or_nothing(to, fill)


def _manifest(form: str, facts: Facts, proof: Proof, text_columns: int) -> dict[str, Any]:
    """Return everything a later reader may ask, as plain JSON values."""
    packages = (*_PACKAGES, *(_GRAPH_PACKAGES if form.startswith("onnx") else ()))
    return {
        "kind": KIND,
        "format": form,
        "about": FORMATS[form].about,
        "created": facts.created.isoformat(timespec="seconds"),
        "sweep": facts.sweep,
        "trial": facts.trial,
        "chosen_from": facts.chosen_from,
        "other_seeds": {str(seed): _finite(value) for seed, value in sorted(facts.other_seeds.items())},
        "confirmed": None if facts.confirmed is None else asdict(facts.confirmed),
        "task": {
            "name": facts.task,
            "classes": list(facts.classes),
            "metric": facts.metric,
            TEXT_COLUMNS: text_columns,
            "fingerprint": facts.data_fingerprint,
        },
        "retention": facts.retention,
        "metrics": {name: _finite(value) for name, value in sorted(facts.metrics.items())},
        "sweep_seconds": facts.sweep_seconds,
        "export": _measured(facts, proof),
        "plan_hash": content_hash(facts.plan, 64),
        "plan": facts.plan,
        "spec": dict(facts.spec),
        "sources": [{"name": s.name, "licence": s.licence, "origin": s.origin} for s in facts.sources],
        "versions": {"python": python_version(), **{name: version(name) for name in packages}},
    }


def _measured(facts: Facts, proof: Proof) -> dict[str, Any]:
    """Return what the fresh process found."""
    kept = proof.retention
    return {
        "difference": proof.difference,
        "drift": proof.seen.drift,
        "rows": proof.test.rows,
        f"test/{facts.metric}": proof.test.value,
        "retention": proof.test.retention,
        "retention_interval": None if kept is None else [_finite(kept.low), _finite(kept.high)],
        "results": [asdict(result) for result in proof.results],
        "per_class": [asdict(one) for one in proof.classes],
        "calibration": None if proof.calibration is None else asdict(proof.calibration),
        "latency_ms": {
            **proof.seen.latency_ms,
            "runtime": proof.seen.runtime,
            "threads": proof.seen.threads,
            "machine": facts.machine,
        },
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

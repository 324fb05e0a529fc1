"""Write and read one checkpoint: a sealed folder of safetensors and JSON, made whole or not at all, never pickled."""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from limbeck.cache import broken, seal

log = logging.getLogger(__name__)
_PREFIX = "step-"


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int = 2) -> Path:
    """Write `folder/step-<step>` and drop all but the newest `keep` checkpoints. Returns the new one's folder.

    The folder is filled under another name, forced to disk, and renamed: a crash leaves the older ones untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".writing-{uuid.uuid4().hex[:8]}"
    work.mkdir()
    try:
        save_file(_apart(tensors), work / "tensors.safetensors")
        (work / "facts.json").write_text(json.dumps(dict(facts), indent=1))
        seal(work)
        for file in work.iterdir():
            _force_to_disk(file)
        target = folder / f"{_PREFIX}{step:09d}"
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        _force_to_disk(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in host memory, none of which shares it with another: safetensors refuses those (tied embeddings)."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in seen else own
        seen.add(place)
    return found


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and facts of the newest whole checkpoint in `folder`, or None. Damaged ones are passed over."""
    for candidate in reversed(_all(folder)):
        fault = broken(candidate)
        if fault is None:
            try:
                return _read(candidate)
            except (OSError, ValueError, RecursionError, SafetensorError) as error:
                # The seal fits what lies there, but this is not what `save` writes.
                fault = f"{type(error).__name__}: {error}"
        log.warning("checkpoint %s is damaged (%s); the one before is used", candidate.name, fault)
    return None


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    facts = json.loads((folder / "facts.json").read_text())
    if not isinstance(facts, dict):
        raise ValueError("facts.json holds no table")
    return load_file(folder / "tensors.safetensors"), facts


def remove_all(folder: Path) -> None:
    """Drop every checkpoint of a trial that has ended."""
    for path in [*_all(folder), *folder.glob(".writing-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob(f"{_PREFIX}*") if p.is_dir())


def _force_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flatten_optimiser(name: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Turn an optimiser's per-parameter state into named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{name}/{i}/{key}": value for i, values in state.items() for key, value in values.items()}


def restore_optimiser(name: str, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `flatten_optimiser` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        prefix, *rest = path.rsplit("/", 2)
        if prefix == name and len(rest) == 2:
            state.setdefault(int(rest[0]), {})[rest[1]] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})

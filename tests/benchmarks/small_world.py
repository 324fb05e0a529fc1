"""A plan that is ready in seconds: networks of real size on few rows of `movies`, in a cache of its own."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from setting import default_cache

from limbeck.archives import model_folder
from limbeck.cache import Cache
from limbeck.plan import Plan, parse_plan
from limbeck.supplies import Supplies
from limbeck.tasks import TaskConfig, load_task
from limbeck.trial import TrialSpec

ROWS = {"train": 480, "selection": 160, "test": 160}


def small_plan(folder: Path, **changes: Any) -> Plan:
    """The plan, its task written into `folder`; `changes` are top-level sections that it gets besides."""
    cache = default_cache()
    base = model_folder("minilm-l6", cache)
    files = _write_task(folder, cache)
    plan = {
        "name": "small",
        "base": {
            "task": {"files": files},
            "teacher": {"base": str(base), "epochs": 2, "learning_rate": 2e-4},
            "student": {"layers": 3},
            "method": {
                "name": "mate",
                "generator_steps": 2,
                "student_steps": 20,
                "generator": {"layers": 3, "fit_updates": 1, "learning_rate": 1e-5},
            },
            "training": {"updates": 20, "evaluations": 2, "batch_size": 32, "learning_rate": 1e-4},
        },
        "objective": {"retention": "max"},
        **changes,
    }
    return parse_plan(json.dumps(plan), "small")


def _write_task(folder: Path, cache: Cache) -> dict[str, str]:
    movies = load_task(TaskConfig.model_validate("movies"), cache)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, rows in ROWS.items():
        paths[name] = str(folder / f"{name}.csv")
        # Evenly spread: the task's rows are in the order of its files, and those in the order of the classes.
        split = movies.splits[name].take(np.linspace(0, len(movies.splits[name].labels) - 1, rows).astype(int))
        labels = [movies.classes[int(label)] for label in split.labels]
        # Trials that start at once write the same files: none may find another's half written.
        work = folder / f".{name}-{os.getpid()}.csv"
        with work.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(split.columns[0], labels, strict=True)])
        work.replace(paths[name])
    return paths


def spec_of(plan: Plan, seed: int = 0, **training: Any) -> TrialSpec:
    """The plan's base trial under another seed, with other training settings."""
    raw = plan.spec({}, seed).model_dump(mode="json")
    return TrialSpec.model_validate({**raw, "training": {**raw["training"], **training}})


def supplies_at(folder: Path) -> Supplies:
    """A process's way to a cache in `folder`."""
    return Supplies(Cache(folder / "cache"), say=lambda _: None)

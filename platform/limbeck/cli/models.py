"""`limbeck evaluate`, and the other commands of a student that goes to work."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli import export, predict, serve
from limbeck.cli.places import Commands, add_command, add_json, cache
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.predictor import Predictor
    from limbeck.tasks import Task, TaskConfig


def register(commands: Commands) -> None:
    """Add `export`, `evaluate`, `predict` and `serve`."""
    export.register(commands)
    parser = add_command(
        commands,
        "evaluate",
        "measure an exported model on a task's test sets",
        _evaluate,
        ["limbeck evaluate best --json", "limbeck evaluate best --task movies"],
    )
    parser.add_argument("model", metavar="DIR", type=Path, help="an exported model, or any Hugging Face folder")
    parser.add_argument(
        "--task", metavar="T", help="a task's name, or a task as in a plan: '{files: {...}}' (default: its own)"
    )
    add_json(parser)
    predict.register(commands)
    serve.register(commands)


def _evaluate(arguments: argparse.Namespace) -> int:
    from limbeck.calibration import calibrated_ece
    from limbeck.manifest import read_manifest
    from limbeck.metrics import evaluate, retention
    from limbeck.predictor import Predictor
    from limbeck.tasks import load_task

    if not arguments.model.is_dir():
        raise UserError(Problem(str(arguments.model), "no such folder"))
    manifest = read_manifest(arguments.model) or {}
    config = _task_config(arguments.task, manifest)
    predictor = Predictor(arguments.model)
    task = load_task(config, cache())
    order = _order(predictor, task)
    same_data = manifest.get("task", {}).get("fingerprint") == task.fingerprint
    metrics: dict[str, float | None] = {}
    for split, examples in {"test": task.test, **task.others}.items():
        print(f"{split}: {len(examples):,} rows", file=sys.stderr)
        logits = examples.scored(predictor.logits(examples.columns)[:, order])
        metrics[f"{split}/{task.metric}"] = value = evaluate(task.metric, logits, examples.labels)
        if task.classes:
            temperature = predictor.calibration.temperature
            metrics[f"{split}/ece"] = calibrated_ece(logits, examples.labels, temperature)
        teacher = manifest.get("metrics", {}).get(f"teacher/{split}/{task.metric}") if same_data else None
        if teacher is not None:
            metrics[f"{split}/retention"] = retention(value, teacher)
    answer = {
        "model": str(arguments.model),
        "task": task.name,
        "metric": task.metric,
        "parameters": predictor.parameters,
        "metrics": metrics,
    }
    if arguments.json:
        print(json.dumps(answer, indent=1))
    else:
        size = "" if predictor.parameters is None else f", {predictor.parameters:,} parameters"
        print(f"{arguments.model} on {task.name}{size}")
        for name, number in metrics.items():
            print(f"  {name:<24} {'–' if number is None else f'{number:.4f}'}")
    return 0


def _task_config(given: str | None, manifest: dict[str, Any]) -> "TaskConfig":
    """Return the task to measure on: the one asked for, else the one the model was made for."""
    from limbeck.faults import model_faults
    from limbeck.tasks import TaskConfig
    from limbeck.yaml_strict import parse_yaml

    if given is None:
        if "spec" not in manifest:
            raise UserError(Problem("--task", "name the task: this folder does not say which one it is for"))
        return TaskConfig.model_validate(manifest["spec"]["task"])
    raw = parse_yaml(given, "--task")
    if faults := model_faults(TaskConfig, raw):
        raise UserError(*(Problem(".".join(filter(None, ("--task", fault.path))), fault.what) for fault in faults))
    return TaskConfig.model_validate(raw)


def _order(predictor: "Predictor", task: "Task") -> list[int]:
    """Return the model's output for each class of the task, matched by name. UserError: other classes."""
    from limbeck.tasks.labels import places_of

    order = places_of(task.classes, predictor.classes)
    if order is not None:
        # A regression has no classes, and one output.
        return order or [0]
    what = f"its classes are {', '.join(predictor.classes) or 'none (regression)'}, those of {task.name} are "
    raise UserError(Problem("--task", what + (", ".join(task.classes) or "none (regression)")))

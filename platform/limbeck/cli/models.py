"""`limbeck export`, `evaluate` and `predict`: a student leaves its sweep and goes to work."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli.places import Commands, Places, add_command, add_json, add_places, cache, places, reader
from limbeck.errors import Problem, UserError, did_you_mean

if TYPE_CHECKING:
    from limbeck.export import Facts
    from limbeck.predictor import Predictor
    from limbeck.store import Reader, SweepRow, TrialRow
    from limbeck.tasks import Task, TaskConfig

LINES_AT_ONCE = 256


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "export",
        "write a trained student as a folder that other tools load",
        _export,
        [
            "limbeck export quickstart --format hf --to best",
            "limbeck export mate --trial 3f2a9c --format hf --to student",
        ],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--trial", metavar="ID", help="which student; the beginning of an id does (default: the best)")
    parser.add_argument("--format", choices=["hf"], default="hf", help="hf: a Hugging Face folder (default)")
    parser.add_argument("--to", required=True, metavar="DIR", help="a folder that is new, empty, or an earlier export")
    add_places(parser)

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

    parser = add_command(
        commands,
        "predict",
        "classify the lines of standard input, one JSON line each",
        _predict,
        ["echo 'a fine film' | limbeck predict best", "limbeck predict best < lines.txt > labels.jsonl"],
    )
    parser.add_argument("model", metavar="DIR", type=Path, help="an exported model, or any Hugging Face folder")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts the model takes at once (32)")


def _export(arguments: argparse.Namespace) -> int:
    with reader(arguments) as results:
        sweep = results.sweep(arguments.sweep)
        row, chosen_from = _chosen(results, sweep, arguments.trial)
    student = _student(row, places(arguments))
    from limbeck.export import ExportFailed, export_hf
    from limbeck.tasks import load_task
    from limbeck.trial import TrialSpec

    spec = TrialSpec.model_validate(row.spec)
    task = load_task(spec.task, cache())
    print(f"exporting trial {row.trial} of {sweep.name}; checking it in a new process", file=sys.stderr)
    facts = _facts(sweep, row, task, chosen_from)
    try:
        done = export_hf(student, Path(arguments.to), facts, task.test)
    except ExportFailed as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    kept = "" if row.retention is None else f", retention {row.retention:.4f}"
    print(f"{arguments.to}: {task.metric} {done.value:.4f} on {done.rows:,} test rows{kept}")
    print(
        f"logits equal the student's to {done.difference:.1e}. Try: echo 'some text' | limbeck predict {arguments.to}"
    )
    return 0


def _chosen(results: "Reader", sweep: "SweepRow", wanted: str | None) -> tuple["TrialRow", int]:
    """Return the trial to export and how many it was chosen from."""
    from limbeck.report import leaderboard

    complete = results.trials(sweep.name, states=["complete"])
    if wanted is not None:
        return _named(results, sweep, wanted), 1
    if not complete:
        raise UserError(Problem(f"sweep {sweep.name}", "no trial is complete yet, so there is no student to export"))
    best = next(row.trial for row in leaderboard(results, sweep.name) if row.state == "complete")
    return next(row for row in complete if row.trial == best), len(complete)


def _named(results: "Reader", sweep: "SweepRow", wanted: str) -> "TrialRow":
    rows = results.trials(sweep.name)
    found = [row for row in rows if row.trial.startswith(wanted)]
    if len(found) != 1:
        what = "several trials begin so" if found else f"no such trial. {did_you_mean(wanted, (r.trial for r in rows))}"
        raise UserError(Problem(f"--trial {wanted}", what))
    if found[0].state != "complete":
        raise UserError(Problem(f"--trial {wanted}", f"it is {found[0].state}; only complete trials have a student"))
    return found[0]


def _student(row: "TrialRow", where: Places) -> Path:
    """Return the trial's student; a home that was moved is found by its place in it."""
    noted = Path(row.folder) / "student" if row.folder else None
    if noted is not None and noted.is_dir():
        return noted
    return where.folder / row.sweep / row.trial / "student"


def _facts(sweep: "SweepRow", row: "TrialRow", task: "Task", chosen_from: int) -> "Facts":
    from limbeck.archives import MODELS
    from limbeck.export import Facts
    from limbeck.tasks import Source

    teacher = row.spec.get("teacher", {})
    base = teacher.get("checkpoint") or teacher.get("base") or "minilm-l6"
    return Facts(
        sweep=sweep.name,
        trial=row.trial,
        plan=sweep.plan,
        spec=row.spec,
        task=task.name,
        classes=task.classes,
        metric=task.metric,
        metrics=row.metrics,
        retention=row.retention,
        chosen_from=chosen_from,
        sources=(*task.sources, _base_source(base) if base in MODELS else Source(base, "see its own card", base)),
        data_fingerprint=task.fingerprint,
        created=datetime.now(UTC),
    )


def _base_source(base: str) -> Any:
    from limbeck.archives import ARCHIVES, MODELS
    from limbeck.tasks import Source

    archive = ARCHIVES[MODELS[base].archive]
    return Source(base, archive.licence, ", ".join(map(str, archive.packages)))


def _evaluate(arguments: argparse.Namespace) -> int:
    from limbeck.export import read_manifest
    from limbeck.metrics import ece, evaluate, retention
    from limbeck.predictor import Predictor
    from limbeck.tasks import load_task

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
            metrics[f"{split}/ece"] = ece(logits, examples.labels)
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
        print(f"{arguments.model} on {task.name}, {predictor.parameters:,} parameters")
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
    theirs = [name.casefold() for name in predictor.classes]
    ours = [name.casefold() for name in task.classes]
    if sorted(theirs) == sorted(ours):
        return [theirs.index(name) for name in ours] if ours else [0]
    what = f"its classes are {', '.join(predictor.classes) or 'none (regression)'}, those of {task.name} are "
    raise UserError(Problem("--task", what + (", ".join(task.classes) or "none (regression)")))


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.batch_size < 1:
        raise UserError(Problem("--batch-size", f"must be 1 or more, got {arguments.batch_size}"))
    from limbeck.export import read_manifest
    from limbeck.predictor import Predictor

    columns = (read_manifest(arguments.model) or {}).get("task", {}).get("text_columns", 1)
    predictor = Predictor(arguments.model)
    lines = _lines(columns)
    # A person at a terminal gets an answer a line; a pipe gets batches.
    at_once = 1 if sys.stdin.isatty() else max(LINES_AT_ONCE, arguments.batch_size)
    while chunk := list(islice(lines, at_once)):
        logits = predictor.logits(list(zip(*(texts for _, texts in chunk), strict=True)), arguments.batch_size)
        for (line, _), row in zip(chunk, logits, strict=True):
            print(json.dumps(_answer(line, row, predictor.classes), ensure_ascii=False))
        sys.stdout.flush()
    return 0


def _lines(columns: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (line, its texts) of standard input; a pair of texts is parted by a tab."""
    for number, raw in enumerate(sys.stdin.buffer, 1):
        where = f"standard input, line {number}"
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(Problem(where, "not UTF-8 text")) from None
        texts = tuple(line.split("\t")) if columns > 1 else (line,)
        if len(texts) != columns:
            raise UserError(Problem(where, f"this model takes {columns} texts parted by a tab, got {len(texts)}"))
        yield line, texts


def _answer(line: str, logits: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    from limbeck.metrics import probabilities

    if not classes:
        return {"text": line, "label": float(logits[0]), "probabilities": {}}
    chances = probabilities(logits[None])[0]
    by_name = {name: round(float(p), 6) for name, p in zip(classes, chances, strict=True)}
    return {"text": line, "label": classes[int(chances.argmax())], "probabilities": by_name}

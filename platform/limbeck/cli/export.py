"""`limbeck export`: a student leaves its sweep, proven."""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli.places import Commands, Places, add_command, add_places, cache, places, reader
from limbeck.cli.results import confirmed
from limbeck.errors import Problem, UserError, did_you_mean

if TYPE_CHECKING:
    from limbeck.export import Confirmation, Facts
    from limbeck.store import Reader, SweepRow, TrialRow
    from limbeck.tasks import Task

FORMATS = ("hf", "onnx", "onnx-int8")
PRECISIONS = ("fp32", "fp16")


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "export",
        "write a trained student as a folder that other tools load",
        _export,
        [
            "limbeck export quickstart --format hf --to best",
            "limbeck export mate --trial 3f2a9c --format onnx-int8 --to student",
        ],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--trial", metavar="ID", help="which student; the beginning of an id does (default: the best)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="hf",
        help="hf: a Hugging Face folder (default); onnx: a graph; onnx-int8: smaller and faster on processors",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of an hf folder's weights (fp32)")
    parser.add_argument("--to", required=True, metavar="DIR", help="a folder that is new, empty, or an earlier export")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to measure with (default: all)")
    add_places(parser)


def _export(arguments: argparse.Namespace) -> int:
    form = _form(arguments.format, arguments.precision)
    threads = usable_threads(arguments.threads)
    from limbeck.export import ExportFailed, export_student
    from limbeck.tasks import load_task
    from limbeck.trial import TrialSpec

    with reader(arguments) as results:
        sweep = results.sweep(arguments.sweep)
        row, chosen_from = _chosen(results, sweep, arguments.trial)
        student = _student(row, places(arguments))
        task = load_task(TrialSpec.model_validate(row.spec).task, cache())
        _check_data(results, row, task, student)
        facts = _facts(results, sweep, row, task, chosen_from, threads)
    print(f"exporting trial {row.trial} of {sweep.name}; checking it in a new process", file=sys.stderr)
    splits = {"selection": task.selection, "test": task.test, **task.others}
    try:
        done = export_student(form, student, Path(arguments.to), facts, splits)
    except ExportFailed as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    kept = "" if done.retention is None else f", retention {done.retention:.4f}"
    print(
        f"{arguments.to}: {task.metric} {done.value:.4f} on {done.rows:,} test rows{kept}; {done.megabytes:.1f} MB\n"
        f"logits within {done.difference:.1e} of the student's. Try: echo 'some text' | limbeck predict {arguments.to}"
    )
    return 0


def _form(form: str, precision: str) -> str:
    """Return the key of `export.FORMATS`. UserError: half precision is for Hugging Face folders."""
    if precision == "fp32":
        return form
    if form == "hf":
        return f"{form}-{precision}"
    raise UserError(Problem("--precision", f"{precision} is for --format hf; {form} has a precision of its own"))


def usable_threads(wanted: int | None) -> int:
    """Return how many threads to use: those asked for, else one for each processor this process may run on."""
    if wanted is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted < 1:
        raise UserError(Problem("--threads", f"must be 1 or more, got {wanted}"))
    return wanted


def _machine() -> str:
    """Name the processor, for numbers that were measured on it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()} ({os.cpu_count()} logical cores)"


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
    """Return the trial's student; a home that was moved is found by its place in it.

    From an object store only what lies in the home that was given is fetched: the database may be somebody else's.
    """
    if "://" in where.home:
        from limbeck.storage import fetched

        return fetched(where.storage(), row.sweep, row.trial)
    noted = Path(row.folder) / "student" if row.folder else None
    if noted is not None and noted.is_dir():
        return noted
    if row.folder and "://" in row.folder:
        home = row.folder.removesuffix(f"/{row.sweep}/{row.trial}")
        raise UserError(Problem("--home", f"the student lies in an object store: give --home {home}"))
    return where.folder / row.sweep / row.trial / "student"


def _check_data(results: "Reader", row: "TrialRow", task: "Task", student: Path) -> None:
    """Raise UserError where the data are not those of the trial: splits are carved from all rows, so what would be
    tested on may hold rows that the student has learned from."""
    was = results.fingerprint(row.sweep, row.trial)
    if was is None or was == task.fingerprint:
        return
    known = {name: results.labels(row.sweep, row.trial, name) for name in ("test", *task.others)}
    sizes = {name: (len(gold), len(task.splits[name])) for name, gold in known.items() if gold is not None}
    told = "; ".join(f"{name} had {old:,} rows and has {new:,}" for name, (old, new) in sizes.items() if old != new)
    what = (
        f"the data of {task.name} have changed since it was trained ({told or 'other texts or labels'}), so rows it is "
        f"tested on may be rows it learned from. Bring back {', '.join(source.origin for source in task.sources)} as "
        f"it was then, or sweep again. The student as it is, unproven, lies in {student}"
    )
    raise UserError(Problem(f"trial {row.trial}", what))


def _facts(
    results: "Reader", sweep: "SweepRow", row: "TrialRow", task: "Task", chosen_from: int, threads: int
) -> "Facts":
    from limbeck.archives import MODELS
    from limbeck.export import Facts
    from limbeck.tasks import Source

    teacher = row.spec.get("teacher", {})
    base = teacher.get("checkpoint") or teacher.get("base") or "minilm-l6"
    trials = results.trials(sweep.name, brief=True)
    said = {name: results.teacher_predictions(sweep.name, row.trial, name) for name in ("test", *task.others)}
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
        machine=_machine(),
        threads=threads,
        teacher_logits={name: logits for name, logits in said.items() if logits is not None},
        other_seeds={
            other.seed: other.retention
            for other in trials
            if other.cell == row.cell and other.seed != row.seed and other.retention is not None
        },
        confirmed=_confirmed(results, sweep, row),
        sweep_seconds=sum(other.seconds for other in trials),
    )


def _confirmed(results: "Reader", sweep: "SweepRow", row: "TrialRow") -> "Confirmation | None":
    """Return what `limbeck confirm` found of the trial's configuration."""
    from limbeck.export import Confirmation

    found = confirmed(results, sweep.name).get(row.cell)
    if found is None:
        return None
    kept = found.retention
    return Confirmation(found.sweep, kept.seeds, kept.mean, kept.low, kept.high)


def _base_source(base: str) -> Any:
    from limbeck.archives import ARCHIVES, MODELS
    from limbeck.tasks import Source

    archive = ARCHIVES[MODELS[base].archive]
    return Source(base, archive.licence, ", ".join(map(str, archive.packages)))

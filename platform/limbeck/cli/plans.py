"""`limbeck validate` and `trial`: what a plan would do, and doing one trial of it."""

import argparse
import json
import math
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli.analysis import power_lines
from limbeck.cli.places import (
    Commands,
    add_command,
    add_home,
    add_json,
    add_places,
    add_plan,
    cache,
    home_folder,
    places,
)
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.plan import Plan
    from limbeck.trial import TrialSpec
    from limbeck.worker import Progress, Result

CELLS_SHOWN = 12


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "validate",
        "check a plan: every error at once, else what it would run",
        _validate,
        ["limbeck validate search_spaces/mate.yaml", "limbeck validate mate --set seeds='[0, 1, 2]'"],
    )
    add_plan(parser)
    add_places(parser)

    parser = add_command(
        commands,
        "trial",
        "run a plan's base trial in this process, without Ray",
        _trial,
        ["limbeck trial kd", "limbeck trial mate --set training.epochs=1 --set method.mask_rate=0.2 --json"],
    )
    add_plan(parser)
    add_home(parser)
    parser.add_argument("--device", default=None, metavar="D", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--fresh", action="store_true", help="drop what an earlier run of the same trial left")
    add_json(parser)


def load(arguments: argparse.Namespace, extra: tuple[str, ...] = (), folder: Path | None = None) -> "Plan":
    """Read the plan with its changes, and say what it warns of.

    Files, and folders of models and data, are taken from `folder`, so that processes elsewhere, and a later --resume,
    find them; without one their names stay as they are.
    """
    from limbeck.plan import load_plan
    from limbeck.resources import find_plan

    return _warned(load_plan(find_plan(arguments.plan), [*arguments.overrides, *extra], folder))


def _base(arguments: argparse.Namespace) -> "Plan":
    """Read the plan's base alone, with its changes."""
    from limbeck.plan import load_base
    from limbeck.resources import find_plan

    return _warned(load_base(find_plan(arguments.plan), arguments.overrides, Path.cwd()))


def _warned(plan: "Plan") -> "Plan":
    for warning in plan.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return plan


def _validate(arguments: argparse.Namespace) -> int:
    from limbeck.misfits import plan_misfits

    plan = load(arguments, folder=Path.cwd())
    if problems := plan_misfits(plan, cache()):
        raise UserError(*problems)
    cells = plan.cells()
    goals = ", ".join(f"{direction} {name}" for name, direction in plan.objectives.items())
    seeds = ", ".join(map(str, plan.seeds))
    print(f"{plan.name}: {plan.kind} on {plan.task} ({goals})")
    configurations = plan.trials // len(plan.seeds)
    many = "s" if configurations != 1 else ""
    print(f"  trials  {plan.trials}: {configurations} configuration{many} x {len(plan.seeds)} (seeds {seeds})")
    if plan.kind == "search":
        print(f"  search  {plan.search.sampler}, early stop: {plan.search.early_stop}")
    for path, domain in plan.vary.items():
        print(f"  varies  {path}: {_domain(domain)}")
    for cell in cells[:CELLS_SHOWN]:
        print(f"  cell    {cell.name}")
    if len(cells) > CELLS_SHOWN:
        print(f"  cell    … and {len(cells) - CELLS_SHOWN} more")
    print(f"  cost    {_cost(plan, arguments)}")
    for line in power_lines(plan, arguments):
        print(f"  power   {line}")
    return 0


def _domain(domain: Any) -> str:
    if domain.kind == "choice":
        text = ", ".join(map(str, domain.values))
    else:
        text = f"{domain.kind} {domain.low:g} to {domain.high:g}"
    return text if domain.when is None else f"{text} (only in some configurations)"


def _cost(plan: "Plan", arguments: argparse.Namespace) -> str:
    """Say what training will take, going by complete trials in the database."""
    from limbeck.analysis.estimate import Planned, complete_trials, estimate
    from limbeck.store import StoreError, TrialRow, open_reader

    cells = [cell.values for cell in plan.cells()] or [{}]
    specs = [plan.spec(values, plan.seeds[0]) for values in cells]
    count = plan.trials // len(cells)
    planned = [Planned(count, spec.model_dump(mode="json"), _updates(spec)) for spec in specs]
    complete: list[TrialRow] = []
    with suppress(StoreError), open_reader(places(arguments).database) as results:
        complete += complete_trials(results)
    found = estimate(complete, planned)
    if found is None:
        return "no measurement yet: no complete trial on this task in the database"
    by = f"going by {found.measured} like them" if found.measured else "as the plan says"
    left = f"; {found.unknown} more trials are on a task without a measurement" if found.unknown else ""
    each = duration(found.seconds / found.trials)
    return f"about {duration(found.seconds)} of training, one trial after another ({each} each, {by}){left}"


def _updates(spec: "TrialSpec") -> int | None:
    """Return a trial's student updates; None where it counts epochs over the user's own rows, which nobody has read."""
    from limbeck.supplies import TRAIN
    from limbeck.tasks import TASKS

    settings, known = spec.training, TASKS.get(spec.task.known or "")
    if settings.updates is None and known is None:
        return None
    rows = known.rows[TRAIN] if known else 0
    return settings.updates_over(min(rows, settings.rows or rows) + settings.unlabelled)


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 3 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _trial(arguments: argparse.Namespace) -> int:
    plan = _base(arguments)
    spec = plan.spec({}, plan.seeds[0])
    folder = (home_folder(arguments) / "trials" / plan.name / spec.id).absolute()
    from limbeck.cluster.slots import check_disk

    check_disk(folder)
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    from limbeck.worker import TrialFailed

    try:
        result = _run(spec, folder, _device(arguments.device))
    except TrialFailed as error:
        print(f"trial {spec.id} failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    _show_result(spec, result, as_json=arguments.json)
    return 0


def _device(wanted: str | None) -> str:
    import torch

    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(Problem("--device", f"{wanted} asked for, but torch sees no such device"))
    if wanted != "cpu" and not wanted.startswith("cuda"):
        raise UserError(Problem("--device", f"cpu or cuda, got '{wanted}'"))
    return wanted


def _run(spec: "TrialSpec", folder: Path, device: str) -> "Result":
    """Train with a bar on standard error, or lines where that is no terminal."""
    from rich.console import Console

    from limbeck.supplies import Supplies
    from limbeck.training import train
    from limbeck.worker import Worker

    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        # What is in brackets is no markup here.
        console.print(line, markup=False)

    supplies = Supplies(cache(), device, say=say)
    supplies.prepare(spec)
    if (folder / "result.json").is_file():
        console.print("this trial has ended before; --fresh runs it again")
    with _Bar(console) as bar:
        result = train(spec, Worker(folder, report=bar.show, clock=time.perf_counter), supplies)
    if result is None:
        raise RuntimeError("the trial stopped although nobody told it to")
    return result


class _Bar:
    """How far a trial is: a live bar on a terminal, one line an evaluation elsewhere."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = [TextColumn("updates"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
        self._console = console
        self._bar = Progress(*columns, TextColumn("{task.description}"), console=console)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "_Bar":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: "Progress") -> None:
        """Take in one evaluation."""
        kept = progress.metrics.get("retention", math.nan)
        words = f"retention {kept:.4f}"
        self._bar.update(self._task, completed=progress.updates, total=progress.updates_total, description=words)
        if not self._console.is_terminal:
            self._console.print(f"update {progress.updates} of {progress.updates_total}: {words}")


def _show_result(spec: "TrialSpec", result: "Result", *, as_json: bool) -> None:
    if as_json:
        answer = {
            "trial": spec.id,
            "seed": spec.seed,
            "metrics": {name: value if math.isfinite(value) else None for name, value in result.metrics.items()},
            "parameters": result.parameters,
            "seconds": result.seconds,
            "student": str(result.student),
        }
        print(json.dumps(answer, indent=1))
        return
    for name, value in sorted(result.metrics.items()):
        print(f"{name:<32} {f'{value:,.0f}' if value >= 1000 else f'{value:.4f}'}")
    print(f"student: {result.student}")

"""`limbeck ablation`, `retention`, `confirm`, `importances`, `scaling` and `costs`: what results say, and how sure."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.cli.places import Commands, add_command, add_places, cache, given_places, places, reader
from limbeck.cli.results import print_leaderboard, print_table
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.plan import Plan
    from limbeck.report import Table

FORMATS = ("table", "json", "markdown", "latex", "csv")
RESAMPLING_SEED = 0
"""Of resampling and randomisation: the same results give the same table."""


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    _register_ablation(commands)
    _register_confirm(commands)
    parser = add_command(
        commands,
        "retention",
        "measure what a sweep's students keep of their teachers, on every test set",
        _retention,
        ["limbeck retention mate-ablation", "limbeck retention method-comparison --split amazon --format latex"],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--split", default=None, metavar="S", help="one test set (default: all)")
    _add_output(parser)
    _register_searches(commands)


def _register_ablation(commands: Commands) -> None:
    parser = add_command(
        commands,
        "ablation",
        "compare a sweep's cells: effects, intervals, adjusted p-values, power",
        _ablation,
        [
            "limbeck ablation mate-ablation",
            "limbeck ablation mate-ablation --format latex --to table.tex",
            "limbeck ablation method-comparison --reference kd --split amazon",
        ],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--split", default="test", metavar="S", help="test set, such as amazon (default: test)")
    parser.add_argument("--reference", metavar="CELL", help="what the others are measured against (default: reference)")
    parser.add_argument(
        "--measure",
        choices=["retention", "metric"],
        default="retention",
        help="compare retention, or the task's metric itself (default: retention)",
    )
    parser.add_argument("--effects", action="store_true", help="csv: a factorial design's effects, not its cells")
    parser.add_argument("--mcnemar", action="store_true", help="each seed's students tested, not the cells (not json)")
    _add_output(parser)


def _register_confirm(commands: Commands) -> None:
    parser = add_command(
        commands,
        "confirm",
        "run a sweep's best configurations again on fresh seeds",
        _confirm,
        ["limbeck confirm mate --top 3 --seeds 5", "limbeck sweep --resume mate-confirm"],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="configurations (3)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds that the sweep did not use (5)")
    parser.add_argument("--name", metavar="NAME", help="the new sweep's name, SWEEP-confirm or a longer one")
    parser.add_argument(
        "--address", metavar="A", help="a Ray cluster, such as auto or head:6379 (default: start Ray here)"
    )
    add_places(parser)


def _register_searches(commands: Commands) -> None:
    parser = add_command(
        commands,
        "importances",
        "tell which varied settings of a search decide about its objective",
        _importances,
        ["limbeck importances mate", "limbeck importances mate --evaluator fanova"],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--evaluator", choices=["ped-anova", "fanova"], default="ped-anova", help="default: ped-anova")
    _add_output(parser)

    parser = add_command(
        commands,
        "scaling",
        "fit how retention grows with the student's size, training rows or updates",
        _scaling,
        ["limbeck scaling mate", "limbeck scaling method-comparison-300 method-comparison --by rows --format csv"],
    )
    parser.add_argument("sweeps", metavar="SWEEP", nargs="+")
    parser.add_argument("--by", choices=["parameters", "parameters_non_embedding", "rows", "updates"])
    parser.set_defaults(by="parameters")
    parser.add_argument("--points", action="store_true", help="csv: the mean at every size, not the fitted lines")
    parser.add_argument("--split", default="test", metavar="S", help="test set (default: test)")
    _add_output(parser)

    parser = add_command(
        commands,
        "costs",
        "add up the seconds of training, and those until a retention was reached",
        _costs,
        ["limbeck costs mate", "limbeck costs mate kd --target 0.98"],
    )
    parser.add_argument("sweeps", metavar="SWEEP", nargs="+")
    parser.add_argument(
        "--target", type=float, action="append", metavar="R", help="a retention, such as 0.98; may be given again"
    )
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--to", metavar="FILE", help="write to a file (default: standard output)")
    add_places(parser)


def _ablation(arguments: argparse.Namespace) -> int:
    import numpy as np

    from limbeck.analysis import ablation_tables as tables
    from limbeck.analysis.ablation import Question, ablation

    question = Question(arguments.split, arguments.reference, arguments.measure)
    with reader(arguments) as results:
        found = ablation(results, arguments.sweep, np.random.default_rng(RESAMPLING_SEED), question)
    raw = {"cells": tables.raw_cells(found), "effects": tables.raw_effects(found), "mcnemar": tables.raw_mcnemar(found)}
    shown = [*tables.cells_tables(found), *tables.effects_tables(found)]
    part = "effects" if arguments.effects else "cells"
    if arguments.mcnemar:
        part, shown = "mcnemar", tables.mcnemar_tables(found)
        if not shown:
            raise UserError(Problem("--mcnemar", f"of {found.sweep.name} no right and wrong answers are kept"))
    _write(shown, raw[part], {**tables.as_json(found), **raw}, arguments)
    return 0


def _retention(arguments: argparse.Namespace) -> int:
    import numpy as np

    from limbeck.analysis.retention import retention
    from limbeck.analysis.retention_tables import raw_retention, retention_tables

    with reader(arguments) as results:
        found = retention(results, arguments.sweep, np.random.default_rng(RESAMPLING_SEED), arguments.split)
    _write(retention_tables(found), raw_retention(found), None, arguments)
    return 0


def _importances(arguments: argparse.Namespace) -> int:
    from limbeck.analysis.importances import importances_table, tried

    with reader(arguments) as results:
        found = tried(results, arguments.sweep)
    from limbeck.cluster.importance import importances
    from limbeck.plan import parse_plan

    plan = parse_plan(found.sweep.plan, found.sweep.name)
    shares = importances(plan, found.values, found.scores, arguments.evaluator)
    table = importances_table(found, shares, arguments.evaluator)
    _write([table], table, None, arguments)
    return 0


def _scaling(arguments: argparse.Namespace) -> int:
    from limbeck.analysis.scaling import curves_table, points_table, scaling

    with reader(arguments) as results:
        found = scaling(results, arguments.sweeps, arguments.by, arguments.split)
    curves, points = curves_table(found), points_table(found)
    _write([curves, points], points if arguments.points else curves, {"curves": curves, "points": points}, arguments)
    return 0


def _costs(arguments: argparse.Namespace) -> int:
    from limbeck.analysis.costs import TARGETS, costs, costs_table

    targets = tuple(arguments.target or TARGETS)
    with reader(arguments) as results:
        table = costs_table(costs(results, arguments.sweeps, targets), targets)
    _write([table], table, None, arguments)
    return 0


def _write(shown: Sequence["Table"], raw: "Table", facts: dict[str, Any] | None, arguments: argparse.Namespace) -> None:
    """Write the tables for people, or the raw one for scripts; `facts` is the JSON where that is more than a list."""
    if arguments.format == "table" and arguments.to is None:
        for table in shown:
            print_table(table)
        return
    text = _text(shown, raw, facts, arguments.format)
    if arguments.to is None:
        print(text, end="")
        return
    try:
        Path(arguments.to).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(Problem(f"--to {arguments.to}", f"cannot be written: {error.strerror}")) from None
    print(f"written to {arguments.to}", file=sys.stderr)


def _text(shown: Sequence["Table"], raw: "Table", facts: dict[str, Any] | None, format: str) -> str:
    from limbeck.report import to_csv, to_latex, to_markdown, to_text

    if format == "json":
        return _json(raw, facts) + "\n"
    if format == "csv":
        return to_csv(raw)
    write = {"table": to_text, "markdown": to_markdown, "latex": to_latex}[format]
    return "\n".join(write(table) for table in shown)


def _json(raw: "Table", facts: dict[str, Any] | None) -> str:
    from limbeck.report import Table, to_json
    from limbeck.store.values import plain

    if facts is None:
        return to_json(raw)
    rows = {key: json.loads(to_json(value)) for key, value in facts.items() if isinstance(value, Table)}
    return json.dumps({key: rows.get(key, plain(value)) for key, value in facts.items()}, indent=2, allow_nan=False)


def _confirm(arguments: argparse.Namespace) -> int:
    plan = _confirming_plan(arguments)
    from limbeck.cluster.sweep import Site, run_sweep

    where = places(arguments)
    home = where.storage()
    site = Site(home.folder, where.database, cache().root, arguments.address, home.uri)
    result = run_sweep(plan, site)
    if result.state == "interrupted":
        return result.exit_code
    with reader(arguments) as results:
        print_leaderboard(results, arguments.sweep, top=10)
    place = given_places(arguments)
    print(f"next:\n  limbeck ablation {plan.name}{place}\n  limbeck retention {plan.name}{place}")
    return result.exit_code


def _confirming_plan(arguments: argparse.Namespace) -> "Plan":
    from limbeck.analysis.confirm import SUFFIX, best_cells, confirm_plan, fresh_seeds
    from limbeck.yaml_strict import dump_yaml

    wrong = [Problem(f"--{name}", "must be 1 or more") for name in ("top", "seeds") if getattr(arguments, name) < 1]
    name = arguments.name or f"{arguments.sweep}{SUFFIX}"
    if not name.startswith(f"{arguments.sweep}{SUFFIX}"):
        wrong.append(Problem("--name", f"must begin with {arguments.sweep}{SUFFIX}, by which tables find it"))
    if wrong:
        raise UserError(*wrong)
    with reader(arguments) as results:
        sweep = results.sweep(arguments.sweep)
        best = best_cells(results, sweep.name, arguments.top)
        seeds = fresh_seeds(results.trials(sweep.name, brief=True), arguments.seeds)
    for place, one in enumerate(best, 1):
        goals = ", ".join(f"{goal} {value:.4f}" for goal, value in one.objective.items())
        print(f"{place}: configuration {one.cell} ({goals})", file=sys.stderr)
    from limbeck.plan import parse_plan

    return parse_plan(dump_yaml(confirm_plan(sweep, best, seeds, name)), name)


def power_lines(plan: "Plan", arguments: argparse.Namespace) -> list[str]:
    """Return what an ablation of this plan will be able to show, given the noise of earlier sweeps if there are any."""
    if plan.ablate is None:
        return []
    from limbeck.analysis.outlook import comparisons_of, fraction, known_noise, outlook
    from limbeck.store import StoreError, open_reader

    known = None
    try:
        with open_reader(places(arguments).database) as results:
            known = known_noise(results, plan.task)
    except StoreError:
        pass
    factors = tuple(plan.ablate.factors)
    tasks = max(1, len(plan.tasks))
    comparisons = comparisons_of(plan.ablate.design, len(plan.cells()), factors, plan.ablate.resolution, tasks)
    mixed = fraction(factors, plan.ablate.resolution) if plan.ablate.design == "factorial" else []
    return [*mixed, *outlook(len(plan.seeds), comparisons, known)]

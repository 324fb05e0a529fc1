"""`limbeck sweep`: run a plan's trials, or go on with them."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.cli.places import Commands, Places, add_command, add_places, add_plan, cache, given_places, places
from limbeck.cli.plans import load
from limbeck.cli.results import print_leaderboard
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.plan import Plan


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "sweep",
        "run a plan's trials on Ray, here or on a cluster",
        _run,
        [
            "limbeck sweep quickstart",
            "limbeck sweep search_spaces/mate.yaml --set training.epochs=1 --trials 10 --name mate-short",
            "limbeck sweep --resume mate-short",
        ],
    )
    add_sweep(parser)
    parser.add_argument(
        "--address", metavar="A", help="a Ray cluster, such as auto or head:6379 (default: start Ray here)"
    )
    parser.add_argument(
        "--keep-files",
        action="store_true",
        help="copy what the plan names by relative paths into the home, where a later --resume finds it",
    )
    add_places(parser)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add what says which sweep to run: a plan with changes, or one to go on with."""
    add_plan(parser, optional=True)
    parser.add_argument("--trials", type=int, metavar="N", help="configurations to try (search.trials of the plan)")
    parser.add_argument("--name", metavar="NAME", help="the sweep's name (default: the plan's)")
    parser.add_argument("--resume", metavar="NAME", help="go on with a sweep that was interrupted")


def _run(arguments: argparse.Namespace) -> int:
    where = places(arguments)
    plan = _resumed(arguments, where) if arguments.resume else _new(arguments, where)
    from limbeck.cluster.sweep import Site, run_sweep
    from limbeck.store import open_reader

    home = where.storage()
    site = Site(home.folder, where.database, cache().root, arguments.address, home.uri)
    result = run_sweep(plan, site, resume=bool(arguments.resume))
    if result.state == "interrupted":
        return result.exit_code
    with open_reader(where.database) as results:
        print_leaderboard(results, plan.name)
    if result.standing.failed:
        print(f"{result.standing.failed} of {result.standing.ended} trials failed; the table says why", file=sys.stderr)
    if result.standing.complete:
        print(_next(plan, arguments))
    return result.exit_code


def _new(arguments: argparse.Namespace, where: Places) -> "Plan":
    if arguments.plan is None:
        raise UserError(Problem("sweep", "give a plan file, the name of a shipped plan, or --resume NAME"))
    return load(arguments, extra(arguments), _folder(arguments, where))


def _folder(arguments: argparse.Namespace, where: Places) -> Path:
    """Return what relative paths of the plan are taken from: the working directory, or a copy of its files at home."""
    if not arguments.keep_files:
        return Path.cwd()
    from limbeck.cluster.upload import beside, keep
    from limbeck.plan import load_plan
    from limbeck.resources import find_plan

    here = Path.cwd()
    plan = load_plan(find_plan(arguments.plan), [*arguments.overrides, *extra(arguments)])
    if "://" not in where.home:
        return keep(plan, here, where.folder.absolute())
    if beside(plan, here):
        what = (
            "an object store keeps none of the plan's files: a later --resume or export finds those alone that the plan"
        )
        print(f"warning: {what} names by absolute paths, on a storage that every node sees", file=sys.stderr)
    return here


def extra(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return `--trials` and `--name` as changes to the plan."""
    trials = () if arguments.trials is None else (f"search.trials={arguments.trials}",)
    return trials if arguments.name is None else (*trials, f"name={json.dumps(arguments.name)}")


def _resumed(arguments: argparse.Namespace, where: Places) -> "Plan":
    """Return the plan the sweep was started with. UserError: what was given now would make another one."""
    from limbeck.cluster.sweep import stored_plan

    name = arguments.resume
    plan = stored_plan(where.database, name)
    if arguments.name not in (None, name):
        raise UserError(Problem("--name", f"a resumed sweep keeps its name, {name}"))
    if arguments.plan is None:
        if arguments.overrides or arguments.trials is not None:
            raise UserError(Problem("--resume", "a resumed sweep keeps its plan: leave --set and --trials out"))
    else:
        from limbeck.plan import parse_plan

        arguments.name = name
        # What was stored may name folders of models as they were given.
        stored = parse_plan(plan.text, name, folder=Path.cwd())
        if load(arguments, extra(arguments), _folder(arguments, where)).hash != stored.hash:
            what = f"differs from the plan sweep {name} was started with; leave it out, or give a new --name"
            raise UserError(Problem(arguments.plan, what))
    return plan


def _next(plan: "Plan", arguments: argparse.Namespace) -> str:
    """Return what to type next, with the places that were given."""
    place = given_places(arguments)
    proofs = {"ablation": "ablation", "search": "confirm"}
    proof = [f"  limbeck {proofs[plan.kind]} {plan.name}{place}"] if plan.kind in proofs else []
    export = f"  limbeck export {plan.name} --format hf --to {plan.name}-best{place}"
    return "\n".join(["next:", *proof, export, f"  limbeck dashboard{place}"])

"""`limbeck doctor`: what would keep a sweep from running, and how to mend it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.cli.jobs import connect, watch
from limbeck.cli.places import Commands, add_command, add_places, add_plan, cache, places
from limbeck.cli.plans import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limbeck.cluster.probe import Finding
    from limbeck.plan import Plan


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "doctor",
        "look for what would keep a sweep from running here or on a cluster, and say how to mend it",
        _doctor,
        [
            "limbeck doctor",
            "limbeck doctor mate",
            "limbeck doctor mate --address auto --home /shared/runs",
            "limbeck doctor mate --address http://head:8265 --home /shared/runs",
        ],
    )
    add_plan(parser, optional=True)
    parser.add_argument(
        "--address",
        metavar="A",
        help="a Ray cluster, auto or head:6379, or its dashboard, http://head:8265: then a job looks from inside",
    )
    add_places(parser)


def _doctor(arguments: argparse.Namespace) -> int:
    plan = load(arguments) if arguments.plan is not None else None
    if "://" in (arguments.address or ""):
        return _from_inside(arguments, plan)
    from limbeck.cluster.doctor import Place, examine

    where = places(arguments)
    home = where.storage()
    place = Place(home.folder, where.database, cache().root, arguments.address, plan, home.uri)
    return show(examine(place))


def show(findings: "Iterable[Finding]") -> int:
    """Print findings as they come; return 0 when nothing is to be mended, else 1."""
    wrong = 0
    for finding in findings:
        wrong += not finding.fine
        print(f"{'ok  ' if finding.fine else 'MEND'}  {finding.name}: {finding.what}", flush=True)
        if not finding.fine:
            print(f"      {finding.mend}", flush=True)
    print(f"{wrong} to mend" if wrong else "nothing to mend")
    return int(bool(wrong))


def _from_inside(arguments: argparse.Namespace, plan: "Plan | None") -> int:
    """Have a job on the cluster look around there, after what can be told from here."""
    from limbeck.cluster.doctor import installed, token
    from limbeck.cluster.jobs import Driver, doctor_command
    from limbeck.cluster.upload import pack

    command = doctor_command(arguments.home, arguments.database, plan=plan is not None)
    upload = pack(plan, Path.cwd())
    cluster = connect(arguments)
    code = show([installed(), *token(Path.home()), *cluster.manners()])
    print(f"from inside {cluster.address}:", file=sys.stderr)
    return watch(cluster, cluster.submit("doctor", command, upload, Driver())) or code

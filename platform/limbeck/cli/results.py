"""`limbeck sweeps` and `leaderboard`: what the database holds."""

import argparse
import sys
from typing import TYPE_CHECKING

from limbeck.cli.places import Commands, add_command, add_json, add_places, places, reader
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.analysis.confirm import Confirmation
    from limbeck.report import Table
    from limbeck.store import Reader


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "sweeps",
        "list the sweeps in the database, newest first",
        _sweeps,
        ["limbeck sweeps", "limbeck sweeps --json --home elsewhere"],
    )
    add_places(parser)
    add_json(parser)

    parser = add_command(
        commands,
        "leaderboard",
        "list a sweep's trials, best first",
        _leaderboard,
        ["limbeck leaderboard quickstart", "limbeck leaderboard mate --json", "limbeck leaderboard mate --format csv"],
    )
    parser.add_argument("sweep", metavar="SWEEP")
    parser.add_argument("--top", type=int, default=None, metavar="N", help="only the first N")
    parser.add_argument("--format", choices=["table", "json", "csv", "markdown", "latex"], default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    add_places(parser)


def _sweeps(arguments: argparse.Namespace) -> int:
    from limbeck.report import sweeps_json, sweeps_table
    from limbeck.store import SchemaOlderError, open_store

    try:
        results = reader(arguments)
    except SchemaOlderError:
        open_store(places(arguments).database).close()
        print("the database was upgraded", file=sys.stderr)
        results = reader(arguments)
    with results:
        if arguments.json:
            print(sweeps_json(results))
        else:
            print_table(sweeps_table(results.sweeps()))
    return 0


def _leaderboard(arguments: argparse.Namespace) -> int:
    if arguments.top is not None and arguments.top < 1:
        raise UserError(Problem("--top", f"must be 1 or more, got {arguments.top}"))
    with reader(arguments) as results:
        print_leaderboard(results, arguments.sweep, arguments.format, arguments.top)
    return 0


def print_leaderboard(results: "Reader", sweep: str, format: str = "table", top: int | None = None) -> None:
    """Print a sweep's trials, best first. UserError: there is no such sweep."""
    from limbeck.report import leaderboard, leaderboard_json, leaderboard_table, to_csv, to_latex, to_markdown

    row = results.sweep(sweep)
    trials = leaderboard(results, sweep)[:top]
    if format == "json":
        print(leaderboard_json(trials, {cell: one.facts() for cell, one in confirmed(results, sweep).items()}))
        return
    table = leaderboard_table(trials, row)
    if found := confirmed(results, sweep):
        from limbeck.analysis.confirm import with_confirmations

        table = with_confirmations(table, trials, found)
    if format == "table":
        print_table(table)
    else:
        write = {"csv": to_csv, "markdown": to_markdown, "latex": to_latex}[format]
        print(write(table), end="")


def confirmed(results: "Reader", sweep: str) -> dict[str, "Confirmation"]:
    """Return what confirming sweeps found, by configuration, where there are any."""
    if not any(row.name.startswith(f"{sweep}-confirm") for row in results.sweeps()):
        return {}
    import numpy as np

    from limbeck.analysis.confirm import confirmations

    return confirmations(results, sweep, np.random.default_rng(0))


def print_table(table: "Table") -> None:
    """Print a table as wide as the terminal, or as it needs where there is none: for a file or another program."""
    from rich.console import Console
    from rich.measure import Measurement

    from limbeck.report import to_table, to_text

    if not sys.stdout.isatty():
        print(to_text(table), end="")
        return
    drawn, console = to_table(table), Console()
    # Where the terminal is narrower than the numbers, its own line breaks lose less than cutting them does.
    least = Measurement.get(console, console.options.update(width=10_000), drawn).minimum
    Console(width=max(console.width, least)).print(drawn)

"""Where things lie: from a flag, else from the environment, else the default. The one place that reads them."""

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.cache import Cache
    from limbeck.storage import Storage
    from limbeck.store import Reader

Commands = Any
"""What `add_subparsers` returns; argparse keeps the type's name to itself."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are written, and a command of any length on the line of its explanation."""

    def __init__(self, prog: str, width: int | None = None) -> None:
        super().__init__(prog, max_help_position=28, width=width)
        # argparse forgets the indentation of commands when it measures them and would break the line of the longest.
        self._action_max_length = 16


EPILOG = """\
environment:
  LIMBECK_HOME      where runs go (default ./runs; --home)
  LIMBECK_DATABASE  results database (default sqlite:///HOME/limbeck.db; --database)
  LIMBECK_CACHE     data, teachers and generators made once (default: the user's cache folder)

exit codes: 0 done, 1 some trials failed, 2 wrong input, 130 interrupted (and resumable)
"""


@dataclass(frozen=True)
class Places:
    """A home for runs and the database beside it."""

    home: str
    """A folder, or the URI of a storage that every node sees."""
    database: str

    @property
    def folder(self) -> Path:
        """The home as a local folder. UserError when it is not one."""
        return _local(self.home)

    def storage(self) -> "Storage":
        """Return the home as a storage. UserError: it can be none."""
        from limbeck.storage import storage_at

        return storage_at(self.home, cache().root)


def places(arguments: argparse.Namespace) -> Places:
    """Return where this command works."""
    home = _home(arguments)
    database = arguments.database or os.environ.get("LIMBECK_DATABASE")
    if database is None and "://" in home:
        raise UserError(Problem("--database", f"give a database as well: {home} cannot hold one"))
    return Places(home, database or f"sqlite:///{Path(home) / 'limbeck.db'}")


def home_folder(arguments: argparse.Namespace) -> Path:
    """Return the home of a command that leaves the database alone. UserError when it is no local folder."""
    return _local(_home(arguments))


def _home(arguments: argparse.Namespace) -> str:
    home = str(arguments.home or os.environ.get("LIMBECK_HOME") or "runs")
    return home if "://" in home else str(Path(home).expanduser())


def _local(home: str) -> Path:
    if "://" in home:
        raise UserError(Problem("--home", f"{home} is not a local folder, and this command needs one"))
    return Path(home)


def given_places(arguments: argparse.Namespace) -> str:
    """Return the places that were given, for a command to type next.

    What is printed is kept in logs: an address that holds a password is not told again.
    """
    from limbeck.store.database import holds_password

    given = {flag: getattr(arguments, flag) for flag in ("home", "database") if getattr(arguments, flag)}
    if "database" in given and holds_password(given["database"]):
        given["database"] = "…"
    return "".join(f" --{flag} {shlex.quote(value)}" for flag, value in given.items())


def cache() -> "Cache":
    """Return the cache of this machine's user."""
    import platformdirs

    from limbeck.cache import Cache

    return Cache(cache_root(os.environ.get("LIMBECK_CACHE"), platformdirs.user_cache_dir("limbeck")))


def cache_root(wanted: str | None, default: str) -> Path:
    """Return the absolute cache folder: workers run in other working directories."""
    return Path(wanted or default).expanduser().absolute()


def reader(arguments: argparse.Namespace) -> "Reader":
    """Open the results database for reading."""
    from limbeck.store import open_reader

    return open_reader(places(arguments).database)


def add_command(commands: Commands, name: str, help: str, run: Any, examples: Sequence[str]) -> argparse.ArgumentParser:
    """Add a command whose `--help` ends with examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_home(parser: argparse.ArgumentParser, kinds: str = "a folder") -> None:
    """Add `--home`, for a command that leaves the database alone."""
    parser.add_argument("--home", metavar="DIR", help=f"where runs are kept, {kinds} (default ./runs; LIMBECK_HOME)")


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add `--home` and `--database`."""
    add_home(parser, "a folder or s3://bucket/path")
    parser.add_argument(
        "--database", metavar="URL", help="results database (default sqlite:///HOME/limbeck.db; LIMBECK_DATABASE)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def add_plan(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the plan and changes to it."""
    parser.add_argument(
        "plan",
        metavar="PLAN",
        nargs="?" if optional else None,
        help="a plan file, or the name of a shipped one, such as quickstart",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="overrides",
        help="change one field of the plan, such as training.epochs=1; may be given again",
    )

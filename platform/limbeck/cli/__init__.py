"""The command line: thin, and quick to answer because every command imports what it needs only when it runs."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from limbeck import __version__
from limbeck.cli import analysis, catalogue, dashboard, doctor, jobs, models, plans, results, sweep
from limbeck.cli.places import EPILOG, HelpFormatter
from limbeck.errors import UserError

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 some trials failed, 2 wrong input, 130 interrupted."""
    parsed = _parser().parse_args(arguments)
    _quiet(parsed.verbose)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has what it wanted; what is still buffered must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="limbeck",
        description="Distil big text classifiers into small ones, and search and compare how.",
        epilog=EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"limbeck {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show what the libraries underneath say, too")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (plans, sweep, jobs, doctor, results, analysis, dashboard, models, catalogue):
        group.register(commands)
    return parser


def _quiet(verbose: bool) -> None:
    """Let limbeck speak on standard error and the libraries only when asked: standard output is for answers."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO if verbose else logging.ERROR)
    logging.getLogger("limbeck").setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose and not sys.warnoptions:
        warnings.simplefilter("ignore")
    # Set before transformers is first imported: it reads this once.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

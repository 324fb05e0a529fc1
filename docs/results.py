"""Write the results of a comparison of methods into docs/results.md and the methods' cards.

    limbeck sweep search_spaces/ablations/methods.yaml
    python docs/results.py method-comparison [--reference CELL] [--home DIR]

On these pages, what stands between `<!-- results SWEEP -->` and `<!-- end -->` becomes the table of its methods, and
what stands between `<!-- results SWEEP SPLIT -->` and `<!-- end -->` the output of `limbeck ablation --split SPLIT`.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from limbeck.cli.places import add_places, places
from limbeck.plan import parse_plan
from limbeck.store import open_reader

DOCS = Path(__file__).parent
CONTROLS = ("finetune", "kd", "random_mask")


def runs(database: str, sweep: str) -> tuple[pd.DataFrame, str]:
    """The complete runs of a sweep, the method's name in `method`; and that of the plan's base."""
    with open_reader(database) as reader:
        frame = reader.trial_frame(sweep)
        method = parse_plan(reader.sweep(sweep).plan, sweep).spec({}, 0).method.name
    frame = frame[frame["state"] == "complete"]
    return frame.assign(method=frame["cell"].replace(["reference", "base"], method)), method


def row(frame: pd.DataFrame, method: str) -> str:
    """One method's line of a table."""
    mine = frame[frame["method"] == method].sort_values("seed")

    def mean(name: str) -> str:
        return f"{mine['metric:' + name].mean():.3f}"

    seeds = " / ".join(f"{value:.3f}" for value in mine["metric:test/accuracy"])
    seconds = f"{mine['seconds'].mean():.0f} s"
    cells = (f"`{method}`", mean("selection/accuracy"), seeds, mean("test/accuracy"), mean("test/retention"))
    return "| " + " | ".join((*cells, mean("test/kl"), mean("amazon/accuracy"), seconds)) + " |"


def table(frame: pd.DataFrame, methods: list[str]) -> str:
    """A Markdown table of some methods."""
    seeds = " / ".join(str(seed) for seed in sorted(frame["seed"].unique()))
    heads = (
        "method",
        "selection",
        f"held-out, seeds {seeds}",
        "mean",
        "retention",
        "KL to the teacher",
        "amazon",
        "training",
    )
    return "\n".join(
        ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *(row(frame, method) for method in methods)]
    )


def filled(page: str, sweep: str, table: Callable[[], str], tested: Callable[[str], str]) -> str:
    """The page with a sweep's marked parts replaced: `table`, or what `tested` says of a split."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{tested(found[2]) if found[2] else table()}\n{found[3]}"

    pattern = rf"(<!-- results {re.escape(sweep)}(?: (\w+))? -->\n).*?(<!-- end -->)"
    return re.sub(pattern, part, page, flags=re.DOTALL)


def main(options: argparse.Namespace) -> None:
    """Write all pages."""
    database = places(options).database
    frame, base = runs(database, options.sweep)
    order = frame.groupby("method")["metric:selection/accuracy"].mean().sort_values(ascending=False).index

    def tested(split: str) -> str:
        asked = ["ablation", options.sweep, "--database", database, "--split", split, "--format", "markdown"]
        asked += ["--reference", options.reference]
        run = subprocess.run([sys.executable, "-m", "limbeck.cli", *asked], check=True, capture_output=True, text=True)
        return run.stdout.strip().replace("| reference |", f"| {base} |")

    for path in (DOCS / "results.md", *sorted((DOCS / "methods").glob("*.md"))):
        page, own = path.read_text(), [] if path.stem in CONTROLS else [path.stem]
        methods = [*CONTROLS, *own] if path.parent.name == "methods" else list(order)
        there = [name for name in methods if name in order]
        new = filled(page, options.sweep, partial(table, frame, there), tested)
        if new != page:
            path.write_text(new)
            print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--reference", default="kd", help="the cell that the tests compare with")
    add_places(parser)
    main(parser.parse_args())

"""Results as text: how numbers read, what each form escapes, and who is best."""

import csv
import dataclasses
import io
import itertools
import json
import math
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from limbeck.report import (
    Column,
    Table,
    best_rows,
    leaderboard,
    leaderboard_json,
    leaderboard_table,
    ranked,
    show,
    sweeps_json,
    sweeps_table,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    to_table,
    to_text,
)
from limbeck.store import NewSweep, NewTrial, Outcome, Reader, TrialRow, open_reader, open_store

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.9731, Column("x", kind="percent"), "97.3 %"),
        (0.97, Column("x", kind="percent", digits=0), "97 %"),
        (0.0123, Column("x", kind="percent", signed=True), "+1.2 %"),
        (-0.0001, Column("x", kind="percent", signed=True), "0.0 %"),
        (-4.72, Column("x", kind="number", digits=2, signed=True), "−4.72"),
        (7_412_000, Column("x", kind="count"), "7.4 M"),
        (999, Column("x", kind="count"), "999"),
        (999_960, Column("x", kind="count"), "1.0 M"),
        (83_500_000, Column("x", kind="bytes"), "83.5 MB"),
        (12, Column("x", kind="bytes"), "12 B"),
        (80, Column("x", kind="duration"), "1 m 20 s"),
        (0.042, Column("x", kind="duration"), "42 ms"),
        (59.96, Column("x", kind="duration"), "1 m 0 s"),
        (12.34, Column("x", kind="duration"), "12.3 s"),
        (3599.7, Column("x", kind="duration"), "1 h 0 m"),
        (86_000, Column("x", kind="duration"), "23 h 53 m"),
        (100_000, Column("x", kind="duration"), "1 d 4 h"),
        (86_399, Column("x", kind="duration"), "1 d 0 h"),
        (5e-5, Column("x", kind="number"), "5e-05"),
        (1 / 3, Column("x", kind="number"), "0.3333"),
        (1 / 3, Column("x", kind="number", digits=2), "0.33"),
        (12_345_678, Column("x", kind="number"), "12345678"),
        (True, Column("x", kind="number"), "true"),
        ("auto", Column("x", kind="number"), "auto"),
        (None, Column("x", kind="percent"), "–"),
        (math.nan, Column("x", kind="count"), "–"),
        (math.inf, Column("x", kind="bytes"), "inf"),
        ([1, "a"], Column("x"), '[1, "a"]'),
        ("two\nlines \x1b[31mred", Column("x"), "two lines  [31mred"),
    ],
)
def test_how_a_value_reads(value: Any, column: Column, text: str) -> None:
    assert show(value, column) == text


TABLE = Table(
    (
        Column("factor", "Factor"),
        Column("retention", "Retention", "percent", best="max"),
        Column("p", "p", "number"),
    ),
    (("a_b & 50 %", 0.9, 1.2e-5), ("*x* | [y]", 0.95, None), ("=1+1", math.nan, -0.5)),
    "What 100 % costs",
    ("n = 5_000",),
)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 values in a table of 3 columns"):
        Table(TABLE.columns, (("a", 1.0),))


def test_the_best_of_a_column() -> None:
    def best(way: Any, *values: Any) -> set[int]:
        return set(best_rows(Table((Column("x", kind="number", best=way),), tuple((v,) for v in values)), 0))

    assert best("max", 1, 3, 3, math.nan, None, "9", True) == {1, 2}
    assert best("min", 1, 3, -2.0) == {2}
    assert best(None, 1, 3) == set()
    assert best("max", 1, None) == set(), "one number beats nobody"


def test_json_is_raw_and_has_no_nan() -> None:
    assert json.loads(to_json(TABLE), parse_constant=pytest.fail) == [
        {"factor": "a_b & 50 %", "retention": 0.9, "p": 1.2e-5},
        {"factor": "*x* | [y]", "retention": 0.95, "p": None},
        {"factor": "=1+1", "retention": None, "p": -0.5},
    ]


def test_csv_keeps_numbers_and_disarms_formulas() -> None:
    cells = ["=HYPERLINK(1)", "+1", "-0.5", "-x", "@SUM", "  =1", "\t=1", "plain", "a,b\n", None, -3, True, [1]]
    table = Table((Column("+key"), Column("x")), tuple((cell, 1.5) for cell in cells))
    head, *rows = csv.reader(io.StringIO(to_csv(table)))
    assert head == ["'+key", "x"]
    assert [row[0] for row in rows] == [
        "'=HYPERLINK(1)", "+1", "-0.5", "'-x", "'@SUM", "'  =1", "'\t=1", "plain", "a,b\n", "", "-3", "true", "[1]",
    ]  # fmt: skip
    assert {row[1] for row in rows} == {"1.5"}


def test_markdown() -> None:
    assert to_markdown(TABLE) == (
        "**What 100 % costs**\n"
        "\n"
        "| Factor | Retention | p |\n"
        "| --- | ---: | ---: |\n"
        "| a_b &amp; 50 % | 90.0 % | 1.2e-05 |\n"
        "| \\*x\\* \\| \\[y\\] | **95.0 %** | – |\n"
        "| =1+1 | – | −0.5 |\n"
        "\n"
        "n = 5_000\n"
    )


def test_latex() -> None:
    assert to_latex(TABLE, label="tab:x") == (
        "% \\usepackage{booktabs,graphicx}\n"
        "\\begin{table}\n"
        "\\centering\n"
        "\\caption{What 100 \\% costs}\n"
        "\\label{tab:x}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "Factor & Retention & p \\\\\n"
        "\\midrule\n"
        "a\\_b \\& 50 \\% & 90.0\\,\\% & $1.2\\times10^{-5}$ \\\\\n"
        "*x* \\textbar{} [y] & \\textbf{95.0\\,\\%} & -- \\\\\n"
        "=1+1 & -- & $-$0.5 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}}\n"
        "\\par\\smallskip\n"
        "\\begin{minipage}{\\linewidth}\\footnotesize\n"
        "n = 5\\_000\\par\n"
        "\\end{minipage}\n"
        "\\end{table}\n"
    )


def test_latex_sets_what_papers_set() -> None:
    column = Column("x", "d_z", "number", digits=1, signed=True)
    table = Table((Column("mark"), column), (("−1.2 **", 1.0), ("+0.3 n.s.", -2e-7)), "less 'kd', wd_z")
    latex = to_latex(table)
    assert "\\caption{less `kd', wd\\_z}" in latex
    assert "mark & $d_z$ \\\\" in latex
    assert "$-1.2^{**}$ & $+$1.0 \\\\" in latex
    assert "$+0.3^{\\mathrm{n.s.}}$" in latex
    wide = to_latex(Table(tuple(Column(f"c{i}") for i in range(8)), ()))
    assert "\\begin{table*}" in wide and wide.endswith("\\end{table*}\n")


def test_latex_escapes_what_would_break_the_page() -> None:
    table = Table((Column("x"),), (("\\input{a} $1^2~#",),))
    assert r"\textbackslash{}input\{a\} \$1\textasciicircum{}2\textasciitilde{}\# \\" in to_latex(table)


def test_the_terminal_shows_brackets_and_bolds_the_best() -> None:
    out = Console(file=io.StringIO(), width=60, force_terminal=True, color_system="standard")
    out.print(to_table(TABLE))
    assert isinstance(out.file, io.StringIO)
    text = out.file.getvalue()
    assert "*x* | [y]" in text
    assert re.search(r"\x1b\[1m\s*95\.0 %", text) and not re.search(r"\x1b\[1m\s*90\.0 %", text)
    assert "What 100 % costs" in text and "n = 5_000" in text


def test_text_for_a_pipe_is_never_cut() -> None:
    columns = tuple(Column(f"column_{i}", kind="number") for i in range(60))
    lines = to_text(Table(columns, (tuple(range(1000, 1060)),))).splitlines()
    assert all(f"column_{i}" in lines[1] + lines[0] for i in range(60))
    assert any(str(1059) in line and str(1000) in line for line in lines)


def a_row(trial: str, state: Any = "complete", number: int = 0, **objective: float) -> TrialRow:
    return TrialRow(
        sweep="s", trial=trial, number=number, cell=trial, seed=0, state=state, values={}, spec={}, updates=0,
        updates_total=0, seconds=0.0, parameters=None, objective=objective, retention=None, metrics=objective,
        error=None, traceback=None, log=None, folder=None, created=NOW, started=None, updated=NOW, finished=None,
    )  # fmt: skip


def order(rows: list[TrialRow], **objectives: str) -> list[str]:
    return [row.trial for row in ranked(rows, objectives)]


def test_best_first_failed_last() -> None:
    rows = [
        a_row("failed", "failed", loss=9.0),
        a_row("waiting", "waiting"),
        a_row("stopped", "stopped", loss=8.0),
        a_row("running", "running", loss=7.0),
        a_row("low", loss=0.1),
        a_row("nan", loss=math.nan),
        a_row("absent"),
        a_row("high", loss=0.9),
    ]
    tail = ["running", "stopped", "waiting", "failed"]
    assert order(rows, loss="max") == ["high", "low", "absent", "nan", *tail]
    assert order(rows, loss="min") == ["low", "high", "absent", "nan", *tail]


def test_ties_keep_the_order_of_the_trials() -> None:
    assert order([a_row("b", number=1, x=1.0), a_row("c", number=2, x=1.0), a_row("a", number=0, x=1.0)], x="max") == [
        "a", "b", "c",
    ]  # fmt: skip


def test_with_two_objectives_the_front_leads() -> None:
    rows = [
        a_row("best", r=0.9, ms=9.0),
        a_row("beaten", r=0.89, ms=9.5),
        a_row("fast", r=0.5, ms=1.0),
        a_row("twin", number=1, r=0.5, ms=1.0),
        a_row("half", r=0.99),
        a_row("early", "stopped", r=1.0, ms=0.1),
    ]
    assert order(rows, r="max", ms="min") == ["best", "fast", "twin", "half", "beaten", "early"]
    assert {row.trial for row in ranked(rows, {"r": "max", "ms": "min"}) if row.front} == {"best", "fast", "twin"}


def test_the_front_agrees_with_comparing_every_pair() -> None:
    draw = random.Random(0)
    rows = [a_row(f"t{i}", number=i, **{k: float(draw.randrange(20)) for k in "abc"}) for i in range(80)]
    ways = {"a": "max", "b": "min", "c": "max"}

    def beats(x: TrialRow, y: TrialRow) -> bool:
        gains = [(x.objective[k] - y.objective[k]) * (1 if way == "max" else -1) for k, way in ways.items()]
        return min(gains) >= 0 and max(gains) > 0

    expected = {y.trial for y in rows if not any(beats(x, y) for x in rows)}
    assert 1 < len(expected) < 40
    assert {row.trial for row in ranked(rows, ways) if row.front} == expected


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    url = f"sqlite:///{tmp_path}/limbeck.db"
    with open_store(url, clock=itertools.count(1_000.0).__next__) as store:
        store.add_sweep(NewSweep("old", "", "grid", "topics", {"loss": "min"}, 4))
        store.add_sweep(NewSweep("mate", "", "search", "movies", {"retention": "max"}, 3))
        for i in range(3):
            rate = {"method.learning_rate": 10.0**-i, "training.learning_rate": 2.0 + i}
            values = {**rate, "method.mask_rate": 0.3, "method.divergence": "kl" if i else "ce"}
            store.add_trials("mate", [NewTrial(f"t{i}", i, f"c{i}", 0, values)])
        ends = Outcome({"retention": 0.8, "test/kl": math.nan}, 0.81, 7_400_000, 80.0)
        store.finish_trial("mate", "t0", "complete", ends)
        store.finish_trial("mate", "t1", "complete", dataclasses.replace(ends, metrics={"retention": 0.9}))
        store.finish_trial("mate", "t2", "failed", Outcome(error="loss is\nNaN"))
    return open_reader(url)


def test_the_leaderboard_for_scripts(reader: Reader) -> None:
    rows = json.loads(
        leaderboard_json(leaderboard(reader, "mate"), {"c1": {"retention": 0.7, "low": math.nan}}),
        parse_constant=pytest.fail,
    )
    assert [row["trial"] for row in rows] == ["t1", "t0", "t2"]
    assert rows[1] == {
        "trial": "t0",
        "state": "complete",
        "seed": 0,
        "values": {
            "method.learning_rate": 1.0,
            "training.learning_rate": 2.0,
            "method.mask_rate": 0.3,
            "method.divergence": "ce",
        },
        "metrics": {"retention": 0.8, "test/kl": None},
        "retention": 0.81,
        "parameters": 7_400_000,
        "seconds": 80.0,
        "error": None,
        "confirmed": None,
    }
    assert rows[0]["confirmed"] == {"retention": 0.7, "low": None}
    assert (rows[2]["state"], rows[2]["error"], rows[2]["retention"]) == ("failed", "loss is\nNaN", None)


def test_the_leaderboard_for_people_shows_what_varies(reader: Reader) -> None:
    rows = leaderboard(reader, "mate")
    table = leaderboard_table(rows, reader.sweep("mate"))
    assert [column.heading for column in table.columns] == [
        "#", "trial", "state", "method.learning_rate", "training.learning_rate", "divergence",
        "selection retention", "test retention", "parameters", "time",
    ]  # fmt: skip
    shown = [show(value, column) for value, column in zip(table.rows[0], table.columns, strict=True)]
    assert shown == ["1", "t1", "complete", "0.1", "3", "kl", "90.0 %", "81.0 %", "7.4 M", "1 m 20 s"]
    unconfirmed = "Unconfirmed: the best of many flatters; see `limbeck confirm mate`."
    assert table.notes == ("t2 failed: loss is NaN", unconfirmed)
    alone = leaderboard_table(rows[:1], reader.sweep("mate"))
    assert "mask_rate" in [column.heading for column in alone.columns], "a trial alone shows all its values"
    assert leaderboard_table([], reader.sweep("mate")).rows == ()


def test_an_ablation_shows_its_cells_names(reader: Reader) -> None:
    table = leaderboard_table(leaderboard(reader, "mate"), dataclasses.replace(reader.sweep("mate"), kind="ablation"))
    headings = [column.heading for column in table.columns]
    assert headings[:4] == ["#", "trial", "state", "configuration"]
    assert "divergence" not in headings


def test_the_sweeps(reader: Reader) -> None:
    assert json.loads(sweeps_json(reader)) == [
        {
            "name": "mate",
            "state": "running",
            "plan_kind": "search",
            "task": "movies",
            "trials": 3,
            "finished": 2,
            "failed": 1,
            "best": 0.9,
        },
        {
            "name": "old",
            "state": "running",
            "plan_kind": "grid",
            "task": "topics",
            "trials": 4,
            "finished": 0,
            "failed": 0,
            "best": None,
        },
    ]
    text = to_text(sweeps_table(reader.sweeps()))
    assert "90.0 %" in text and "1970-01-01 00:16" in text

"""Hostile plans, task files, checkpoints and words: a clean error or a valid value, never a crash or a hang.

A few hundred cases each with every run of the tests; ten thousand with `make soak`.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from limbeck.cache import seal
from limbeck.checkpoint import newest, save
from limbeck.errors import UserError
from limbeck.overrides import parse_overrides
from limbeck.plan import Plan, parse_plan
from limbeck.report import Column, Table, to_csv, to_markdown
from limbeck.resources import shipped_plans
from limbeck.tasks.files import load_files
from limbeck.tasks.tables import Columns
from limbeck.yaml_strict import dump_yaml, mapping

CASES = pytest.mark.parametrize(
    "cases", [300, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]
)
"""How many."""


def fuzzed(cases: int, *strategies: Any) -> Callable[[Callable[..., None]], None]:
    """Call a check with so many drawn values; the few cases of every day are always the same ones."""

    def run(check: Callable[..., None]) -> None:
        common = {"deadline": timedelta(seconds=30), "suppress_health_check": list(HealthCheck), "database": None}
        settings(max_examples=cases, derandomize=cases < 1000, **common)(given(*strategies)(check))()

    return run


PLANS = [path.read_text(encoding="utf-8") for path in shipped_plans().values()]
RAW = [mapping(text, "p.yaml") for text in PLANS]
KEYS = sorted(
    {key for raw in RAW for key in [*raw, *raw["base"], *raw["base"].get("training", {})]} | {"files", "when"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["../../x", "\u202e", "=1+1", "<b>", "mate", "tpe", "grid", "max", "1e400", "${HOME}", "a.b.c"]),
)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(KEYS), each, max_size=4)
)
SYNTAX = st.text(st.sampled_from(list("{}[]:,-#&*!|>'\"%@`?~ \n\t\\0aé\u2028\ufeff")), max_size=6)


@st.composite
def changed_plans(draw: st.DrawFn) -> str:
    """A shipped plan with values put in other places, or with characters put anywhere."""
    if draw(st.booleans()):
        text = draw(st.sampled_from(PLANS))
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, len(text)))
            text = text[:place] + draw(SYNTAX) + text[place + draw(st.integers(0, 3)) :]
        return text
    raw = json.loads(json.dumps(draw(st.sampled_from(RAW))))
    for _ in range(draw(st.integers(1, 3))):
        at = raw
        while isinstance(at, dict) and at and draw(st.booleans()):
            below = at[draw(st.sampled_from(sorted(at)))]
            if not isinstance(below, dict):
                break
            at = below
        at[draw(st.sampled_from(KEYS) | st.sampled_from(sorted(at) or ["x"]))] = draw(VALUES)
    return dump_yaml(raw)


def check_plan(text: str) -> None:
    try:
        plan = parse_plan(text, "p.yaml")
    except UserError as error:
        assert error.problems and all(str(problem).startswith("p.yaml") for problem in error.problems)
        return
    assert isinstance(plan, Plan)
    assert parse_plan(plan.text, "p.yaml") == plan, "what was read writes a text that reads the same"
    for cell in plan.cells()[:3]:
        plan.spec(cell.values, plan.seeds[0])


@CASES
def test_the_plan_loader(cases: int) -> None:
    fuzzed(cases, changed_plans())(check_plan)


@CASES
def test_the_yaml_reader_on_anything(cases: int) -> None:
    anything = st.text(max_size=300) | st.lists(SYNTAX, max_size=40).map("".join)
    fuzzed(cases, anything)(check_plan)


@CASES
def test_overrides(cases: int) -> None:
    def check(words: list[str]) -> None:
        try:
            parse_overrides(words)
        except UserError as error:
            assert error.problems

    fuzzed(cases, st.lists(st.text(max_size=30) | st.builds("{}={}".format, st.text(max_size=9), SYNTAX), max_size=3))(
        check
    )


CELLS = st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none(), st.booleans())
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=12)
NOISE = st.binary(max_size=300)


def csv_bytes(rows: list[tuple[Any, Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([("text", "label"), *rows])
    return out.getvalue().encode("utf-8", "replace")


def json_bytes(rows: list[tuple[Any, Any]]) -> bytes:
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    return "\n".join(lines).encode("utf-8", "replace")


def parquet_bytes(rows: list[tuple[Any, Any]]) -> bytes:
    out = io.BytesIO()
    columns = [[str(row[i]).encode("utf-8", "replace").decode() for row in rows] for i in (0, 1)]
    parquet.write_table(pa.table(columns, names=["text", "label"]), out)
    return out.getvalue()


@st.composite
def task_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of some kind: whole, damaged in places, or noise."""
    suffix, make = draw(st.sampled_from([("csv", csv_bytes), ("jsonl", json_bytes), ("parquet", parquet_bytes)]))
    content = make(draw(ROWS)) if draw(st.integers(0, 4)) else draw(NOISE)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=4)) + content[place + draw(st.integers(0, 4)) :]
    return suffix, content


@CASES
def test_the_task_reader(cases: int, tmp_path: Path) -> None:
    def check(file: tuple[str, bytes]) -> None:
        suffix, content = file
        path = tmp_path / f"train.{suffix}"
        path.write_bytes(content)
        try:
            task = load_files({"train": path}, Columns(("text",), "label"), None)
        except UserError as error:
            assert error.problems
            return
        for split in task.splits.values():
            assert all(isinstance(text, str) for column in split.columns for text in column)
            assert len(split.labels) == len(split.columns[0])

    fuzzed(cases, task_files())(check)


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"text": ' * 100_000, "9" * 10_000, '{"text": "\\ud800", "label": "a"}']
)
def test_json_that_is_deep_or_long_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(f"{line}\n" * 12)
    with pytest.raises(UserError):
        load_files({"train": path}, Columns(("text",), "label"), None)


TENSORS = {"a": torch.arange(4.0), "b": torch.ones(2, 3)}
FACTS = {"updates": 7, "name": "é"}
SEALS = st.recursive(
    st.one_of(
        st.none(), st.integers(), st.text(max_size=8), st.sampled_from(["facts.json", "../x", "/etc/hosts", "a\0b"])
    ),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["files", "facts.json", "bytes", "crc32"]), each)
    ),
)


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, str, Any]:
    """Which file, what happens to it, and with what."""
    file = draw(st.sampled_from(["tensors.safetensors", "facts.json", "seal.json"]))
    how = draw(st.sampled_from(["cut", "change", "replace", "remove", "forge", "seal again"]))
    return file, how, draw(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=12), SEALS))


def damage(folder: Path, file: str, how: str, what: tuple[int, bytes, Any]) -> None:
    place, content, seal_value = what
    path = folder / file
    before = path.read_bytes()
    if how == "remove":
        path.unlink()
    elif how == "forge":
        (folder / "seal.json").write_text(json.dumps(seal_value))
    else:
        changed = before[:place] + content + before[place + len(content) :]
        path.write_bytes({"cut": before[:place], "replace": content}.get(how, changed))
        if how == "seal again" and file != "seal.json":
            # Somebody who knows the format: the seal is right, the content is not.
            (folder / "seal.json").unlink()
            seal(folder)


@CASES
def test_the_checkpoint_reader(cases: int, tmp_path: Path) -> None:
    good = tmp_path / "good"
    save(good, 1, TENSORS, FACTS)
    save(good, 2, TENSORS, {**FACTS, "updates": 8})

    def check(harm: tuple[str, str, Any]) -> None:
        folder = tmp_path / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        damage(folder / "step-000000002", *harm)
        found = newest(folder)
        assert found is not None, "the one before is whole"
        tensors, facts = found
        assert isinstance(facts, dict) and all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())

    fuzzed(cases, damages())(check)


HOSTILE = st.text(max_size=20) | st.builds(
    "{}{}".format,
    st.sampled_from(["=", "+", "-", "@", "\t", "\r", " =", "<script>", "|", "](", "*", "\n"]),
    st.text(max_size=9),
)


@CASES
def test_no_table_holds_a_formula_or_markup(cases: int) -> None:
    def check(heading: str, cell: str) -> None:
        table = Table((Column("a", heading), Column(heading or "b")), ((cell, [cell]),), cell, (cell,))
        rows = list(csv.reader(io.StringIO(to_csv(table), newline="")))
        assert len(rows) == 2
        for row in rows:
            for found in row:
                if found.lstrip()[:1] in ("=", "+", "-", "@") or found[:1] in ("\t", "\r"):
                    # Nothing but a number may begin so.
                    float(found)
        page = to_markdown(table)
        assert "<" not in page
        assert len([line for line in page.splitlines() if line.startswith("|")]) == 3, "a row is a line"

    fuzzed(cases, HOSTILE, HOSTILE)(check)

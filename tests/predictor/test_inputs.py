"""Texts from lines and tables: every row in order, every mistake with its place."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.errors import UserError
from limbeck.predictor.inputs import line_rows, table_rows
from limbeck.tasks.files import read_table


def test_lines_keep_everything_but_their_ends() -> None:
    lines = [b"a film\n", b"\n", " naïve \r\n".encode(), b"last"]
    assert list(line_rows(lines, 1)) == [("a film",), ("",), (" naïve ",), ("last",)]
    assert list(line_rows([b"one\ttwo\n"], 2)) == [("one", "two")]
    assert list(line_rows([b"one\ttwo\n"], 1)) == [("one\ttwo",)]


def test_mistakes_in_lines_name_the_line() -> None:
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        list(line_rows([b"fine\n", b"\xff\n"], 1))
    with pytest.raises(UserError, match="line 1: this model takes 2 texts parted by a tab, got 1"):
        list(line_rows([b"alone\n"], 2))


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"id": [1, 2], "text": ["a, film", 'he said "no"\nand left'], "title": ["x", ""]})


def write(frame: pd.DataFrame, path: Path) -> Path:
    """The frame in the format that the name asks for."""
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ending:
            frame.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_of_every_kind_of_table(frame: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    path = write(frame, tmp_path / f"t.{ending}")
    texts = frame["text"].tolist()
    assert list(table_rows(path, [], 1)) == [(text,) for text in texts]
    assert list(table_rows(path, ["title"], 1)) == [("x",), ("",)]
    assert list(table_rows(path, ["title", "text"], 2)) == list(zip(["x", ""], texts, strict=True))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_that_are_not_there(frame: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    path = write(frame, tmp_path / f"t.{ending}")
    with pytest.raises(UserError, match=r"no column 'titel'\. Did you mean 'title'"):
        list(table_rows(path, ["titel"], 1))
    with pytest.raises(UserError, match="name the text columns of t"):
        list(table_rows(path, [], 2))
    with pytest.raises(UserError, match="takes 1 text column, got 2"):
        list(table_rows(path, ["text", "title"], 1))


def test_cells_and_rows_that_are_not_text(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 1: must be text, got 1"):
        list(table_rows(write(frame, tmp_path / "t.parquet"), ["id"], 1))
    empty = pd.DataFrame({"text": ["a", None]})
    with pytest.raises(UserError, match="row 2: must be text, got None"):
        list(table_rows(write(empty, tmp_path / "n.parquet"), [], 1))
    (tmp_path / "short.csv").write_text("text,label\na film,good\nalone\n")
    with pytest.raises(UserError, match=r"line 3: has 1 cells, the first line names 2 columns"):
        list(table_rows(tmp_path / "short.csv", [], 1))
    (tmp_path / "j.jsonl").write_text('{"text": "a"}\n{text}\n')
    with pytest.raises(UserError, match="line 2: no JSON"):
        list(table_rows(tmp_path / "j.jsonl", [], 1))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", '\ufeff{"text": "a film"}\n\n  \n{"text": "another"}\n\n'),
        ("t.csv", "\ufeff\ntext,label\na film,good\n\n  \nanother,bad\n\n"),
        ("t.tsv", "text\na film\n\nanother\n\n"),
    ],
)
def test_marks_and_blank_lines_are_passed_over_as_in_training(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert list(table_rows(path, [], 1)) == [("a film",), ("another",)]
    assert read_table(path).columns["text"] == ["a film", "another"]


def test_an_empty_cell_is_no_blank_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text\n""\n\na film\n')
    assert list(table_rows(tmp_path / "t.csv", [], 1)) == [("",), ("a film",)]


def test_what_no_tokenizer_or_parser_takes_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "half.jsonl").write_text('{"text": "a film"}\n{"text": "a \\ud800 film"}\n')
    rows = table_rows(tmp_path / "half.jsonl", [], 1)
    assert next(rows) == ("a film",)
    with pytest.raises(UserError, match=r"row 2: holds half of a surrogate pair"):
        next(rows)
    (tmp_path / "deep.jsonl").write_text('{"text": "a film"}\n{"text": ' + "[" * 100_000 + "\n")
    with pytest.raises(UserError, match=r"line 2: is nested too deeply"):
        list(table_rows(tmp_path / "deep.jsonl", [], 1))
    columns = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["text", "text", "title"])
    pq.write_table(columns, tmp_path / "twice.parquet")
    with pytest.raises(UserError, match="several columns are called 'text'"):
        list(table_rows(tmp_path / "twice.parquet", [], 1))
    assert list(table_rows(tmp_path / "twice.parquet", ["title"], 1)) == [("c",)]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content, words in (
        ("a.xlsx", b"", "must end in .csv"),
        ("b.csv", None, "no such file"),
        ("c.csv", b"", "is empty"),
        ("d.csv", b"text\n\xff\n", "not UTF-8"),
        ("e.parquet", b"not parquet", "cannot be read as Parquet"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            list(table_rows(path, [], 1))


def test_a_table_is_read_as_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text\n" + "a film\n" * 10 + '"never closed\n')
    rows = table_rows(path, [], 1)
    assert next(rows) == ("a film",)

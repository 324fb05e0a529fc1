"""The user's files: every format gives the same task, and everything wrong with them is told at once."""

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from limbeck.cache import Cache
from limbeck.errors import UserError
from limbeck.tasks import Task, TaskConfig, load_task

Row = dict[str, object]


def write(path: Path, rows: Sequence[Row]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def rows(count: int, labels: Sequence[object] = ("ham", "spam"), start: int = 0) -> list[Row]:
    return [{"text": f'message {start + i}, "quoted"', "label": labels[i % len(labels)]} for i in range(count)]


def load(tmp_path: Path, **fields: object) -> Task:
    return load_task(TaskConfig.model_validate(fields), Cache(tmp_path / "cache"))


def problems(tmp_path: Path, **fields: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, **fields)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def three_files(tmp_path: Path, extension: str) -> dict[str, Path]:
    return {
        "train": write(tmp_path / f"train.{extension}", rows(10)),
        "selection": write(tmp_path / f"selection.{extension}", rows(4, start=100)),
        "test": write(tmp_path / f"test.{extension}", rows(3, start=200)),
    }


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_task(tmp_path: Path, extension: str) -> None:
    task = load(tmp_path, files=three_files(tmp_path, extension))
    assert task.classes == ("ham", "spam")
    assert (len(task.train), len(task.selection), len(task.test)) == (10, 4, 3)
    assert task.metric == "accuracy"
    assert task.train.columns[0][0] == 'message 0, "quoted"'
    assert task.test.labels.tolist() == [0, 1, 0]
    assert task.test.labels.dtype == np.int64
    assert task.fingerprint == load(tmp_path, files=three_files(tmp_path, "csv")).fingerprint


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((10, 2, 0), ("0", "2", "10")),
        (("10", "2", "b"), ("10", "2", "b")),
        ((1.0, 2.0), ("1", "2")),
        ((True, False), ("False", "True")),
        (("None", "NA", "null"), ("NA", "None", "null")),
    ],
)
def test_classes_are_sorted_and_keep_their_names(
    tmp_path: Path, extension: str, labels: Sequence[object], classes: tuple[str, ...]
) -> None:
    if extension == "parquet" and len({type(label) for label in labels}) > 1:
        pytest.skip("a Parquet column has one type")
    data = write(tmp_path / f"all.{extension}", rows(30, labels))
    task = load(tmp_path, files={"train": data, "selection": data, "test": data})
    assert task.classes == classes
    names = [task.classes[label] for label in task.train.labels[: len(labels)]]
    assert [name.removesuffix(".0") for name in names] == [str(label).removesuffix(".0") for label in labels]


def test_words_that_look_missing_are_text(tmp_path: Path) -> None:
    data = write(
        tmp_path / "train.csv", [{"text": text, "label": i % 2} for i, text in enumerate(["NA", "None", "nan"])]
    )
    task = load(tmp_path, files={"train": data, "selection": data, "test": data})
    assert task.train.columns[0] == ["NA", "None", "nan"]


def test_numbers_with_fractions_mean_regression(tmp_path: Path) -> None:
    task = load(tmp_path, files={"train": write(tmp_path / "train.csv", rows(40, (0.5, 1, 4.75)))})
    assert task.regression
    assert task.metric == "pearson_spearman"
    assert task.train.labels.dtype == np.float32
    assert set(task.train.labels.tolist()) == {0.5, 1.0, 4.75}


def test_the_metric_makes_whole_numbers_a_regression(tmp_path: Path) -> None:
    files = {"train": write(tmp_path / "train.jsonl", rows(40, (1, 2, 3)))}
    assert load(tmp_path, files=files).classes == ("1", "2", "3")
    assert load(tmp_path, files=files, metric="pearson_spearman").classes == ()
    assert load(tmp_path, files=files, metric="f1_macro").metric == "f1_macro"


def test_pairs_of_texts(tmp_path: Path) -> None:
    data = [{"premise": f"p{i}", "hypothesis": f"h{i}", "gold": "ab"[i % 2]} for i in range(30)]
    config = {
        "files": {"train": write(tmp_path / "train.csv", data)},
        "text": ["premise", "hypothesis"],
        "label": "gold",
    }
    task = load(tmp_path, **config)
    assert [len(column) for column in task.train.columns] == [len(task.train)] * 2
    assert all(p[1:] == h[1:] for p, h in zip(*task.train.columns, strict=True))


def test_missing_splits_are_carved_from_train_by_class(tmp_path: Path) -> None:
    data = rows(200, ("a", "a", "a", "b"))
    task = load(tmp_path, files={"train": write(tmp_path / "train.csv", data)})
    assert (len(task.train), len(task.selection), len(task.test)) == (162, 18, 20)
    assert np.bincount(task.test.labels).tolist() == [15, 5]
    texts = [text for split in task.splits.values() for text in split.columns[0]]
    assert sorted(texts) == sorted(str(row["text"]) for row in data)
    assert load(tmp_path, files={"train": tmp_path / "train.csv"}).fingerprint == task.fingerprint


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", [{"sentence": "a", "labels": "x"}])
    found = problems(
        tmp_path,
        files={"train": train, "selection": tmp_path / "gone.csv", "test": tmp_path / "test.txt"},
        text="sentnce",
    )
    assert found == [
        "gone.csv: no such file",
        "test.txt: cannot tell the format by the extension '.txt'. Allowed: .csv, .jsonl, .parquet, .tsv.",
        "train.csv: no column 'sentnce'. Did you mean 'sentence'?",
        "train.csv: no column 'label'. Did you mean 'labels'?",
    ]


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_missing_cells_are_told_by_row(tmp_path: Path, extension: str) -> None:
    data = rows(8)
    for row in (1, 3, 4, 6):
        data[row]["text"] = None if extension != "csv" else ""
    data[5]["label"] = None if extension != "csv" else ""
    path = write(tmp_path / f"train.{extension}", data)
    assert problems(tmp_path, files={"train": path}) == [
        f"train.{extension}: no text in column 'text' of rows 2, 4, 5 and 1 more",
        f"train.{extension}: no label in column 'label' of row 6",
    ]


def test_labels_training_does_not_know(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", rows(10))
    selection = write(tmp_path / "selection.jsonl", rows(6, ("ham", "eggs")))
    test = write(tmp_path / "test.csv", rows(2, ("Spam", "spam")))
    assert problems(tmp_path, files={"train": train, "selection": selection, "test": test}) == [
        "selection.jsonl: labels that training does not know: 'eggs' in rows 2, 4, 6. It knows: ham, spam.",
        "test.csv: labels that training does not know: 'Spam' in row 1. It knows: ham, spam.",
    ]


def test_one_class_and_empty_splits(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", rows(10, ("ham",)))
    empty = tmp_path / "selection.csv"
    empty.write_text("text,label\n")
    (tmp_path / "test.jsonl").write_text("")
    assert problems(tmp_path, files={"train": train, "selection": empty, "test": tmp_path / "test.jsonl"}) == [
        "selection.csv: has no rows",
        "test.jsonl: has no rows",
        "train.csv: all labels are 'ham'; a task needs two classes or more",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"text,label\nx,1,surplus\n", "Length of header"),
        ("a.csv", b"text,label\nx,1\ny,2,surplus\n", "Expected 2 fields in line 3, saw 3"),
        ("a.csv", "text,label\ncaf\u00e9,1\n".encode("latin-1"), "is not UTF-8"),
        ("a.csv", b"", "No columns to parse"),
        ("a.jsonl", b'{"text": "x", "label": 1}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is not an object"),
        ("a.parquet", b"not parquet", "cannot be read"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = problems(tmp_path, files={"train": tmp_path / name})
    assert found.startswith(f"{name}: ")
    assert words in found


def test_cells_of_the_wrong_kind(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"text": 7, "label": ["a"]}\n{"text": "x", "label": "b"}\n')
    assert problems(tmp_path, files={"train": path}) == [
        "train.jsonl: column 'text' is not text: 7 in row 1",
        "train.jsonl: a label must be text or a number; got ['a'] in row 1",
    ]
    scores = write(tmp_path / "scores.csv", rows(9, (0.5, "high", 2)))
    (found,) = problems(tmp_path, files={"train": scores}, metric="pearson_spearman")
    assert found == "scores.csv: regression needs numbers as labels, none beyond 3.4e+38; got 'high' in rows 2, 5, 8"
    huge = write(tmp_path / "huge.csv", rows(9, (0.5, 1e39, 2)))
    (found,) = problems(tmp_path, files={"train": huge}, metric="pearson_spearman")
    assert "none beyond 3.4e+38" in found and "rows 2, 5, 8" in found


def test_half_a_surrogate_pair_is_told_by_row(tmp_path: Path) -> None:
    found: list[Row] = rows(9)
    found[2] = {"text": "great \ud83d", "label": "ham"}
    found[3] = {"text": "whole \U0001f600", "label": "sp\udc00m"}
    path = write(tmp_path / "train.jsonl", found)
    unlabelled = write(tmp_path / "more.jsonl", [{"text": "\udfff"}, {"text": "fine"}])
    told = "half a character (a lone surrogate, such as \\ud83d) in column '{}' of row {}; text was cut inside an emoji"
    for line, words in zip(
        problems(tmp_path, files={"train": path, "unlabelled": unlabelled}),
        (("more", "text", 1), ("train", "text", 3), ("train", "label", 4)),
        strict=True,
    ):
        assert line.startswith(f"{words[0]}.jsonl: {told.format(*words[1:])}")


def test_f1_of_two_classes_is_refused_for_three(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", rows(9, ("a", "b", "c")))
    (found,) = problems(tmp_path, files={"train": path}, metric="accuracy_f1")
    assert found == "task.metric: accuracy_f1 is for two classes; there are 3"


def test_unlabelled_texts_come_in_the_same_columns(tmp_path: Path) -> None:
    files = three_files(tmp_path, "csv")
    without = load(tmp_path, files=files)
    more = write(tmp_path / "more.jsonl", [{"text": "one", "other": 1}, {"text": "two", "other": 2}])
    task = load(tmp_path, files={**files, "unlabelled": more})
    assert task.unlabelled == (["one", "two"],)
    assert task.unlabelled_rows == 2
    assert "unlabelled" not in task.splits
    assert task.fingerprint != without.fingerprint
    bad = write(tmp_path / "bad.jsonl", [{"words": "one"}])
    (found,) = problems(tmp_path, files={**files, "unlabelled": bad})
    assert found == "bad.jsonl: no column 'text'. Allowed: words."


def test_unlabelled_texts_that_are_tested_on_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {**three_files(tmp_path, "csv"), "unlabelled": write(tmp_path / "more.csv", rows(5, start=201))}
    with caplog.at_level(logging.WARNING):
        load(tmp_path, files=files)
    assert [record.getMessage() for record in caplog.records] == ["train: 2 of 3 test rows stand in unlabelled too"]


def test_rows_in_train_and_test_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = write(tmp_path / "train.csv", rows(20))
    test = write(tmp_path / "test.csv", rows(4, start=18))
    with caplog.at_level(logging.WARNING):
        load(tmp_path, files={"train": train, "selection": write(tmp_path / "s.csv", rows(4, start=50)), "test": test})
    assert [record.getMessage() for record in caplog.records] == ["train: 2 of 4 test rows stand in train too"]

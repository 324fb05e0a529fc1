"""Hub tasks, on small local folders of the layout the hub has."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limbeck.cache import Cache
from limbeck.errors import UserError
from limbeck.tasks import TASKS, Task, TaskConfig, load_task
from limbeck.tasks.hub import GLUE, HubTask
from limbeck.tasks.hub_data import load_known

Row = Mapping[str, object]
METRICS = {
    "cola": "matthews",
    "sst2": "accuracy",
    "mrpc": "accuracy_f1",
    "qqp": "accuracy_f1",
    "stsb": "pearson_spearman",
    "mnli": "accuracy",
    "qnli": "accuracy",
    "rte": "accuracy",
    "wnli": "accuracy",
}


@pytest.fixture(autouse=True)
def _own_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")


def data_set(
    folder: Path, config: str, splits: Mapping[str, Sequence[Row]], names: Sequence[str] = (), label: str = "label"
) -> str:
    """Write a data set with one configuration as the hub stores it; return what `load_dataset` is given."""
    files = []
    for split, rows in splits.items():
        path = folder / config / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append(f"  - split: {split}\n    path: {config}/{split}.jsonl")
    features = "\n".join(f"  - name: {name}\n    dtype: string" for name in rows[0] if name != label)
    if names:
        listed = "\n".join(f"          '{place}': {name}" for place, name in enumerate(names))
        features += f"\n  - name: {label}\n    dtype:\n      class_label:\n        names:\n{listed}"
    else:
        kind = {int: "int64", float: "float64", str: "string"}[type(rows[0][label])]
        features += f"\n  - name: {label}\n    dtype: {kind}"
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n" + "\n".join(files) + "\n"
        f"dataset_info:\n- config_name: {config}\n  features:\n{features}\n---\n"
    )
    return str(folder)


def made_up(columns: Sequence[str], labels: Sequence[object], count: int, tag: str, label: str = "label") -> list[Row]:
    return [{c: f"{tag} {c} {i}" for c in columns} | {label: labels[i % len(labels)]} for i in range(count)]


def known(task: HubTask, folder: Path, *, names: bool = True, companions: bool = False) -> Task:
    labels: Sequence[object] = range(len(task.classes)) if task.classes else (0.0, 2.5, 5.0)
    splits = {
        "train": made_up(task.text, labels, 40, "train"),
        **{theirs: made_up(task.text, labels, 9, theirs) for theirs in task.parts.values() or [task.validation]},
        "test": made_up(task.text, [type(labels[0])(-1)], 5, "hidden"),
    }
    id = data_set(folder, task.config, splits, task.classes if names else ())
    return load_known("it", replace(task, id=id), None, companions=companions)


@pytest.mark.parametrize("names", [True, False], ids=["class names", "bare numbers"])
@pytest.mark.parametrize("name", list(GLUE))
def test_every_glue_task_loads_by_its_table_entry(name: str, names: bool, tmp_path: Path) -> None:
    entry = GLUE[name]
    task = known(entry, tmp_path / "data", names=names)
    assert task.metric == METRICS[name]
    assert task.classes == entry.classes
    sets = len(entry.parts) or 1
    assert (len(task.train), len(task.selection), len(task.test)) == (36, 4, 9 * sets)
    assert len(task.test.columns) == len(entry.text)
    first = next(iter(entry.parts.values()), entry.validation)
    assert task.test.columns[0][0] == f"{first} {entry.text[0]} 0"
    assert "hidden" not in " ".join(text for split in task.splits.values() for text in split.columns[0])
    wanted = [i % len(entry.classes) for i in range(9)] if entry.classes else [0.0, 2.5, 5.0] * 3
    assert task.test.labels.tolist() == wanted * sets
    assert task.test.labels.dtype == (np.int64 if entry.classes else np.float32)


def test_mnli_is_tested_on_both_its_sets_together_and_on_each(tmp_path: Path) -> None:
    task = known(GLUE["mnli"], tmp_path / "data")
    assert set(task.others) == {"matched", "mismatched"}
    for column in (0, 1):
        both = [text for part in ("matched", "mismatched") for text in task.others[part].columns[column]]
        assert task.test.columns[column] == both
    assert task.others["mismatched"].columns[0][0] == "validation_mismatched premise 0"


def test_companions_count_in_their_own_classes(tmp_path: Path) -> None:
    folder = tmp_path / "scitail"
    scitail = GLUE["mnli"].companions["scitail"]
    rows = made_up(scitail.text, scitail.names, 6, "science", scitail.label)
    id = data_set(folder, "snli_format", {"test": rows}, label=scitail.label)
    entry = replace(GLUE["mnli"], companions={"scitail": replace(scitail, id=id)})
    task = known(entry, tmp_path / "data", companions=True)
    assert set(task.others) == {"matched", "mismatched", "scitail"}
    foreign = task.others["scitail"]
    assert foreign.labels.tolist() == [0, 1] * 3
    assert foreign.merge == (0, 1, 1)
    assert foreign.scored(np.zeros((6, 3), np.float32)).shape == (6, 2)
    assert id in [source.origin for source in task.sources]
    assert set(known(entry, tmp_path / "again").others) == {"matched", "mismatched"}


def test_companions_have_as_many_classes_as_they_are_scored_in() -> None:
    for task in GLUE.values():
        for companion in task.companions.values():
            merge = companion.merge or tuple(range(len(task.classes)))
            assert len(merge) == len(task.classes)
            assert sorted(set(merge)) == list(range(len(companion.names)))
            assert len(companion.text) == len(task.text) or task.text == ("sentence",)


def load(hub: str, tmp_path: Path, **fields: object) -> Task:
    config = {"hub": hub, "text": "body", "label": "topic"} | fields
    return load_task(TaskConfig.model_validate(config), Cache(tmp_path / "cache"))


def test_any_data_set_by_its_columns(tmp_path: Path) -> None:
    splits = {
        "train": made_up(["body"], [0, 1, 2], 30, "train", "topic"),
        "validation": made_up(["body"], [0, 1, 2], 6, "validation", "topic"),
        "test": made_up(["body"], [0, 1, 2], 9, "test", "topic"),
    }
    id = data_set(tmp_path / "data", "default", splits, ("zoo", "art", "law"), "topic")
    task = load(id, tmp_path)
    assert task.classes == ("zoo", "art", "law")
    assert (len(task.train), len(task.selection), len(task.test)) == (30, 6, 9)
    assert task.selection.columns[0][0] == "validation body 0"
    assert task.test.labels.tolist() == [0, 1, 2] * 3


def test_hidden_test_labels_make_validation_the_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = {
        "train": [*made_up(["body"], [0, 1], 40, "train", "topic"), {"body": "nobody knows", "topic": -1}],
        "validation": made_up(["body"], [0, 1], 6, "validation", "topic"),
        "test": made_up(["body"], [-1], 9, "test", "topic"),
    }
    with caplog.at_level(logging.WARNING, "limbeck"):
        task = load(data_set(tmp_path / "data", "default", splits, ("no", "yes"), "topic"), tmp_path)
    assert task.test.columns[0][0] == "validation body 0"
    assert (len(task.train), len(task.selection), len(task.test)) == (36, 4, 6)
    (record,) = caplog.records
    assert "1 of 41 rows have no label" in record.getMessage()


def test_wrong_columns_and_splits_are_told(tmp_path: Path) -> None:
    splits = {"train": made_up(["body"], ["a", "b"], 30, "train", "topic")}
    id = data_set(tmp_path / "data", "default", splits, label="topic")
    with pytest.raises(UserError) as caught:
        load(id, tmp_path, text="bdy", label="topc")
    told = [problem.what for problem in caught.value.problems]
    assert told == ["no column 'bdy'. Did you mean 'body'?", "no column 'topc'. Did you mean 'topic'?"]
    id = data_set(tmp_path / "other", "default", {"training": splits["train"]}, label="topic")
    with pytest.raises(UserError, match=r"no split 'train'. Did you mean 'training'\?"):
        load(id, tmp_path)


def test_what_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load("limbeck-nobody/no-such-data", tmp_path)
    (problem,) = caught.value.problems
    assert problem.where == "limbeck-nobody/no-such-data"
    assert "give that folder: hub: DIR" in problem.what
    with pytest.raises(UserError, match="nyu-mll/glue' with config 'rte' could not be loaded"):
        load_task(TaskConfig.model_validate("rte"), Cache(tmp_path))


def test_an_unknown_configuration_is_told(tmp_path: Path) -> None:
    splits = {"train": made_up(["body"], ["a", "b"], 30, "train", "topic")}
    id = data_set(tmp_path / "data", "english", splits, label="topic")
    with pytest.raises(UserError, match=r"config 'englsh' could not be loaded: .*english"):
        load(id, tmp_path, config="englsh")


def test_the_table_has_glues_nine() -> None:
    assert {name: TASKS[name].metric for name in METRICS} == METRICS
    assert set(GLUE) == set(METRICS)

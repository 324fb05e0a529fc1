"""The built-in tasks have the rows they say, and nothing that is tested on is trained on."""

import time

import numpy as np
import pytest

from limbeck.cache import Cache
from limbeck.tasks import TASKS, Task, TaskConfig, load_task
from limbeck.tasks.embedded import EMBEDDED, _sentences, _tidy
from limbeck.tasks.splitting import row_keys, text_keys

pytestmark = pytest.mark.data


def loaded(name: str, cache: Cache) -> Task:
    return load_task(TaskConfig.model_validate(name), cache)


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_rows_of_every_split_are_those_declared(name: str, cache: Cache) -> None:
    task = loaded(name, cache)
    assert {split: len(examples) for split, examples in task.splits.items()} == dict(TASKS[name].rows)
    for examples in task.splits.values():
        assert len(examples.columns) == 1
        assert len(examples.columns[0]) == len(examples.labels)
        assert examples.labels.dtype == np.int64
        assert set(examples.labels.tolist()) == set(range(len(task.classes)))
        assert all(text and text == text.strip() for text in examples.columns[0])


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_no_tested_text_is_trained_on(name: str, cache: Cache) -> None:
    task = loaded(name, cache)
    trained_on, selected_on = set(row_keys(task.train)), set(row_keys(task.selection))
    assert not trained_on & selected_on
    for split, examples in {"test": task.test, **task.others}.items():
        assert not (trained_on | selected_on) & set(row_keys(examples)), split


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_out_of_domain_sets_can_be_left_out(name: str, cache: Cache) -> None:
    whole, task = loaded(name, cache), load_task(TaskConfig(name=name, companions=False), cache)
    assert set(task.splits) == {"train", "selection", "test"}
    assert set(whole.others) == set(EMBEDDED[name].companions)
    # Teachers, outputs and token ids in the cache go by it.
    assert task.fingerprint == whole.fingerprint


@pytest.mark.parametrize("name", ["movies", "amazon"])
def test_unlabelled_text_holds_no_test_row(name: str, cache: Cache) -> None:
    task = loaded(name, cache)
    assert task.unlabelled_rows == EMBEDDED[name].unlabelled
    unlabelled = set(text_keys(task.unlabelled))
    for split, examples in task.splits.items():
        if split != "train":
            assert not unlabelled & set(row_keys(examples)), split


def test_movies_loads_fast_once_it_is_parsed(cache: Cache) -> None:
    before = loaded("movies", cache)
    start = time.perf_counter()
    again = loaded("movies", Cache(cache.root))
    assert time.perf_counter() - start < 3
    assert again.fingerprint == before.fingerprint


def test_fingerprints_differ_between_tasks(cache: Cache) -> None:
    assert len({loaded(name, cache).fingerprint for name in EMBEDDED}) == len(EMBEDDED)


def test_escapes_and_misread_signs_are_put_right() -> None:
    assert _tidy("val kilmer&#8217 ; s b&amp;w  film \x97 grim") == "val kilmer’ s b&w film — grim"


def test_sentences_take_turns_between_negative_and_positive_reviews() -> None:
    reviews = [
        ("Bad film one is here.<br /><br />It drags on and on. Short.", 0),
        ("Bad film two is here.", 0),
        ("Good film one is here!", 1),
    ]
    assert _sentences(reviews) == [
        "Bad film one is here.",
        "It drags on and on.",
        "Good film one is here!",
        "Bad film two is here.",
    ]

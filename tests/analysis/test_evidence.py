"""From stored predictions to scores by example, and the cases where only the metric of a run is left."""

from pathlib import Path

import numpy as np
import pytest

from limbeck.analysis.evidence import metric_cells, read_evidence, retention_cells, splits_of, teacher_level
from limbeck.analysis.runs import Group, read_groups
from limbeck.errors import UserError
from stored_results import LABELS, Results, logits


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.sweep()
    return made


def group(results: Results) -> Group:
    return read_groups(results.reader(), "parts")[2][0]


def test_scores_are_right_and_wrong_answers_of_every_seed(results: Results) -> None:
    results.trial("reference", 0, logits(38))
    results.trial("reference", 2, logits(30, skip=5))
    found = read_evidence(results.reader(), "parts", group(results), "test")
    assert (found.metric, found.by_example, found.examples, found.notes) == ("accuracy", True, 40, ())
    assert found.students["reference", 0].tolist() == [0, 0] + [1] * 38
    assert found.students["reference", 2].tolist() == [1] * 5 + [0] * 10 + [1] * 25
    assert found.teachers["reference", 0].tolist() == [1] * 36 + [0] * 4
    assert teacher_level(found) == pytest.approx(0.9)
    cells = metric_cells(group(results), found)
    assert [(c.name, c.seeds, c.missing) for c in cells] == [("reference", (0, 2), (1,))]
    kept = retention_cells(group(results), found)
    assert kept is not None
    assert kept[0].values() == pytest.approx([38 / 36, 30 / 36])


def test_without_predictions_of_one_run_all_are_compared_by_their_metric(results: Results) -> None:
    results.trial("reference", 0, logits(38))
    results.trial("reference", 1, logits(37), keep=False)
    found = read_evidence(results.reader(), "parts", group(results), "test")
    assert (found.by_example, found.examples) == (False, None)
    assert {run: scores.tolist() for run, scores in found.students.items()} == {
        ("reference", 0): [38 / 40],
        ("reference", 1): [37 / 40],
    }
    assert "the predictions of 1 complete run are not kept" in found.notes[0]
    kept = retention_cells(group(results), found)
    assert kept is not None
    assert kept[0].values() == pytest.approx([38 / 36, 37 / 36])


def test_predictions_that_do_not_give_the_measured_metric_are_not_used(results: Results) -> None:
    results.trial("reference", 0, logits(38), metrics={"test/accuracy": 0.5})
    found = read_evidence(results.reader(), "parts", group(results), "test")
    assert found.students["reference", 0].tolist() == [0.5]
    assert "do not give the metric that was measured" in found.notes[0]


def test_predictions_that_are_no_numbers_are_not_used(results: Results) -> None:
    results.trial("reference", 0, np.where(LABELS[:, None] == 0, np.nan, logits(38)), metrics={"test/accuracy": 0.6})
    found = read_evidence(results.reader(), "parts", group(results), "test")
    assert found.students["reference", 0].tolist() == [0.6]
    assert "are not numbers" in found.notes[0]


def test_a_run_without_a_finite_metric_stays_missing(results: Results) -> None:
    results.trial("reference", 0, logits(38), keep=False)
    results.trial("reference", 1, None, metrics={"test/accuracy": float("nan"), "teacher/test/accuracy": 0.9})
    cells = metric_cells(group(results), read_evidence(results.reader(), "parts", group(results), "test"))
    assert (cells[0].seeds, cells[0].missing) == ((0,), (1, 2))


def test_runs_tested_on_different_rows_do_not_pair(results: Results) -> None:
    results.trial("reference", 0, logits(38))
    results.trial("reference", 1, logits(38), task="movies-2", labels=1 - LABELS)
    with pytest.raises(UserError, match="different rows of 'test'"):
        read_evidence(results.reader(), "parts", group(results), "test")


def test_an_unknown_split_is_named_with_the_nearest(results: Results) -> None:
    results.trial("reference", 0, logits(38), split="amazon")
    assert splits_of(group(results)) == ["amazon"]
    with pytest.raises(UserError, match=r"--split: nothing was measured on 'amazn' of movies. Did you mean 'amazon'"):
        read_evidence(results.reader(), "parts", group(results), "amazn")


def test_a_useless_teacher_gives_no_retention(results: Results) -> None:
    wrong = logits(0)
    results.trial("reference", 0, logits(38), teacher=wrong)
    found = read_evidence(results.reader(), "parts", group(results), "test")
    assert teacher_level(found) == 0.0
    assert retention_cells(group(results), found) is None


def test_a_task_without_a_result_has_nothing_to_say(results: Results) -> None:
    results.trial("reference", 0, None, state="failed", error="diverged")
    results.trial("adversary", 0, logits(38))
    only = group(results)
    empty = Group(only.task, only.seeds, {"reference": {}}, {})
    found = read_evidence(results.reader(), "parts", empty, "test")
    assert (found.metric, found.students) == ("", {})
    assert retention_cells(empty, found) is not None

"""Trials as cells: what is there, what is not and why, and whether it was trained alike."""

from pathlib import Path

import pytest

from limbeck.analysis.evidence import metric_cells, read_evidence
from limbeck.analysis.runs import check_budget, method_of, missing_notes, read_groups
from limbeck.errors import UserError
from stored_results import PLAN, Results, logits

FACTORIAL = PLAN.replace("leave-one-out", "factorial")
TASKS = PLAN + "tasks: [movies, topics]\n"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def test_seeds_without_a_result_say_why(results: Results) -> None:
    results.sweep()
    results.trial("reference", 0, logits(38))
    results.trial("reference", 1, None, state="failed", error="diverged before\nupdate 10")
    results.trial("adversary", 0, None, state="stopped")
    sweep, asked, groups = read_groups(results.reader(), "parts")
    assert (asked.design, asked.factors, asked.seeds) == ("leave-one-out", ("adversary", "divergence"), (0, 1, 2))
    (group,) = groups
    assert (sweep.name, group.task, group.seeds) == ("parts", "movies", (0, 1, 2))
    assert list(group.complete) == ["reference", "adversary"]
    assert [row.seed for row in group.rows] == [0]
    assert group.absent["adversary"] == {0: "stopped early", 1: "not started", 2: "not started"}
    cells = metric_cells(group, read_evidence(results.reader(), "parts", group, "test"))
    assert missing_notes(group, cells) == [
        "reference: no result for seed 1 (failed: diverged before update 10); seed 2 (not started).",
        "adversary: no result for seed 0 (stopped early); seeds 1, 2 (not started).",
    ]


def test_a_factorial_design_knows_cells_that_never_started(results: Results) -> None:
    results.sweep(plan=FACTORIAL)
    results.trial("adversary+divergence", 0, logits(38))
    (group,) = read_groups(results.reader(), "parts")[2]
    assert list(group.complete) == ["reference", "adversary", "divergence", "adversary+divergence"]


def test_cells_on_several_tasks_are_told_apart(results: Results) -> None:
    results.sweep(plan=TASKS)
    for task in ("movies", "topics"):
        results.trial(f"reference@{task}", 0, logits(38), task=task)
    groups = read_groups(results.reader(), "parts")[2]
    assert [(g.task, list(g.complete)) for g in groups] == [("movies", ["reference"]), ("topics", ["reference"])]


def test_a_sign_in_a_cells_name_means_nothing_with_one_task(results: Results) -> None:
    results.sweep(kind="grid", plan="name: parts\n")
    results.trial("student.checkpoint=me@home", 0, logits(38))
    (group,) = read_groups(results.reader(), "parts")[2]
    assert (group.task, list(group.complete)) == ("movies", ["student.checkpoint=me@home"])


def test_nothing_complete_is_nothing_to_compare(results: Results) -> None:
    results.sweep()
    results.trial("reference", 0, None, state="failed", error="diverged")
    with pytest.raises(UserError, match="no trial is complete yet"):
        read_groups(results.reader(), "parts")
    with pytest.raises(UserError, match="Did you mean 'parts'"):
        read_groups(results.reader(), "prats")


def test_a_plan_that_cannot_be_read_leaves_the_trials(results: Results) -> None:
    results.sweep(plan="base: [")
    results.trial("reference", 3, logits(38))
    _, asked, (group,) = read_groups(results.reader(), "parts")
    assert (asked.design, group.seeds) == (None, (3,))


def test_equal_updates_are_an_equal_budget(results: Results) -> None:
    results.sweep()
    results.trial("reference", 0, logits(38), updates=(1200, 1200))
    results.trial("adversary", 0, logits(38), updates=(1200, 1200))
    (group,) = read_groups(results.reader(), "parts")[2]
    assert check_budget(group) == "1,200 student updates"


def test_mixed_fidelities_are_refused_by_name(results: Results) -> None:
    results.sweep()
    results.trial("reference", 0, logits(38))
    results.trial("reference", 1, logits(38))
    results.trial("adversary", 0, logits(38), updates=(50, 100))
    results.trial("divergence", 0, logits(38), updates=(300, 300))
    (group,) = read_groups(results.reader(), "parts")[2]
    with pytest.raises(UserError) as error:
        check_budget(group)
    told = str(error.value)
    assert "adversary: seed 0 took 50 of 100 updates" in told
    assert "divergence: seed 0 was planned for 300 updates, others for 100" in told
    assert "mixed fidelity" in told


def test_runs_limited_by_time_are_equal_in_seconds(results: Results) -> None:
    results.sweep()
    spec = {"training": {"seconds": 60.0}}
    results.trial("reference", 0, logits(38), updates=(400, 1000), seconds=60.4, spec=spec)
    results.trial("adversary", 0, logits(38), updates=(150, 1000), seconds=62.0, spec=spec)
    (group,) = read_groups(results.reader(), "parts")[2]
    assert check_budget(group) == "60 seconds of training"
    results.trial("divergence", 0, logits(38), updates=(1000, 1000), seconds=30.0, spec=spec)
    (group,) = read_groups(results.reader(), "parts")[2]
    with pytest.raises(UserError, match="divergence: seed 0 took 30 of 60 seconds"):
        check_budget(group)


def test_the_method_is_named_in_short_or_in_full(results: Results) -> None:
    results.sweep()
    results.trial("reference", 0, logits(38), spec={"method": "kd"})
    results.trial("reference", 1, logits(38), spec={"method": {"name": "mate"}})
    results.trial("reference", 2, logits(38))
    assert [method_of(row) for row in results.reader().trials("parts")] == ["kd", "mate", None]

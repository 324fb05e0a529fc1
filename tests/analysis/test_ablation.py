"""Cells against their reference: literal means and differences, what is missing, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from limbeck.analysis.ablation import ALL_TASKS, Ablation, Line, Question, ablation
from limbeck.compare import Resampling, holm
from limbeck.errors import UserError
from stored_results import PLAN, Results, ablation_of, logits

QUICK = Resampling(resamples=200, draws=999)
FACTORIAL = PLAN.replace("leave-one-out", "factorial")
TASKS = PLAN + "tasks: [movies, topics]\n"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def compare(results: Results, name: str = "parts", question: Question | None = None) -> Ablation:
    return ablation(results.reader(), name, np.random.default_rng(0), question or Question(how=QUICK))


def lines(found: Ablation, section: int = 0) -> dict[str, Line]:
    return {line.row.cell: line for line in found.sections[section].lines}


def test_means_and_differences_are_those_of_the_answers(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29), "divergence": (36, 36, 36)})
    found = compare(results)
    assert (found.reference, found.seeds, found.comparisons) == ("reference", (0, 1, 2), 2)
    (section,) = found.sections
    assert (section.task, section.measure, section.metric, section.examples) == ("movies", "retention", "accuracy", 40)
    assert (section.teacher, section.budget) == (pytest.approx(0.9), "100 student updates")
    by_name = lines(found)
    reference, adversary = by_name["reference"].row, by_name["adversary"].row
    assert (reference.mean, reference.difference, reference.p) == (pytest.approx(1.0), None, None)
    assert (adversary.mean, adversary.n_seeds, adversary.n_pairs) == (pytest.approx(90 / 108), 3, 3)
    assert adversary.difference == pytest.approx((90 - 108) / 108)
    # Differences of the seeds: −6/36, −4/36, −8/36: mean −1/6, deviation 2/36.
    assert adversary.effect_size == pytest.approx(-3.0)
    assert adversary.probability_of_improvement == 0.0
    assert adversary.difference_low is not None
    assert adversary.difference_high is not None
    assert adversary.difference_low < adversary.difference < adversary.difference_high < 0
    assert by_name["adversary"].value == pytest.approx(90 / 120)
    assert (by_name["adversary"].parameters, by_name["adversary"].seconds) == (1000, 10.0)
    assert [line.row.p_adjusted for line in section.lines] == holm([line.row.p for line in section.lines])
    assert by_name["divergence"].row.p is not None
    assert by_name["divergence"].row.p > 0.5


def test_the_same_results_give_the_same_numbers(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)})
    assert compare(results) == compare(results)


def test_each_seeds_students_are_tested_against_each_other(results: Results) -> None:
    results.sweep()
    # The same first examples are wrong: those of the reference are among the adversary's.
    ablation_of(results, {"reference": (38, 38), "adversary": (30, 31)})
    tests = compare(results).sections[0].mcnemar["adversary"]
    assert {seed: (t.only_first, t.only_second) for seed, t in tests.items()} == {0: (0, 8), 1: (0, 7)}
    assert tests[0].p == pytest.approx(2 * 0.5**8)


def test_a_missing_seed_is_missing_and_pairs_are_those_left(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31)})
    results.trial("adversary", 2, None, state="failed", error="diverged")
    found = compare(results)
    row = lines(found)["adversary"].row
    assert (row.n_seeds, row.n_pairs, row.missing_seeds) == (2, 2, (2,))
    assert row.mean == pytest.approx(61 / 72)
    # Over seeds 0 and 1 alone: the reference's third seed is not averaged into the difference.
    assert row.difference == pytest.approx((30 - 36 + 31 - 35) / 72)
    assert found.sections[0].notes == ("adversary: no result for seed 2 (failed: diverged).",)


def test_a_cell_without_any_result_has_no_numbers(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37)})
    results.trial("adversary", 0, None, state="failed", error="diverged")
    line = lines(compare(results))["adversary"]
    assert (line.row.mean, line.row.difference, line.row.p, line.value, line.seconds) == (None,) * 5
    assert line.row.missing_seeds == (0, 1, 2)


def test_without_the_reference_nothing_is_compared(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"adversary": (30, 31, 32)})
    results.trial("reference", 0, None, state="failed", error="diverged")
    found = compare(results)
    assert found.comparisons == 0
    assert lines(found)["adversary"].row.mean == pytest.approx(93 / 108)
    assert found.sections[0].power is None


def test_metrics_without_predictions_are_compared_by_run(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)}, keep=False)
    found = compare(results)
    (section,) = found.sections
    assert (section.examples, section.mcnemar) == (None, {})
    row = lines(found)["adversary"].row
    assert row.difference == pytest.approx(-18 / 108)
    assert row.p is not None
    assert "by each run's accuracy alone" in section.notes[0]


def test_one_run_known_by_one_number_has_no_interval(results: Results) -> None:
    results.sweep(plan=PLAN.replace("[0, 1, 2]", "[0]"))
    ablation_of(results, {"reference": (36,), "adversary": (30,)}, keep=False)
    row = lines(compare(results))["adversary"].row
    assert (row.mean, row.low, row.high) == (pytest.approx(30 / 36), None, None)
    assert (row.difference, row.difference_low, row.p) == (pytest.approx(-6 / 36), None, None)


def test_the_metric_itself_can_be_compared(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)})
    found = compare(results, question=Question(measure="metric", how=QUICK))
    assert found.sections[0].measure == "accuracy"
    assert lines(found)["adversary"].row.difference == pytest.approx(-18 / 120)


def test_another_test_set_and_another_reference(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35), "adversary": (30, 31)}, split="amazon")
    found = compare(results, question=Question("amazon", "adversary", how=QUICK))
    assert lines(found)["reference"].row.difference == pytest.approx(10 / 72)
    assert lines(found)["adversary"].row.difference is None
    with pytest.raises(UserError, match=r"--reference adversari: Did you mean 'adversary'"):
        compare(results, question=Question("amazon", "adversari", how=QUICK))


def test_a_useless_teacher_leaves_the_metric(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)}, teacher=logits(0))
    (section,) = compare(results).sections
    assert section.measure == "accuracy"
    assert "the teacher's accuracy is 0, not above zero: retention is no number" in section.notes[0]


def test_searches_and_mixed_fidelities_are_refused(results: Results) -> None:
    results.sweep("found", plan="name: found\n", kind="search")
    results.trial("0000", 0, logits(30), sweep="found")
    with pytest.raises(UserError, match="limbeck confirm"):
        compare(results, "found")
    results.sweep()
    results.trial("reference", 0, logits(36))
    results.trial("adversary", 0, logits(30), updates=(200, 200))
    with pytest.raises(UserError, match="mixed fidelity"):
        compare(results)


def test_a_grid_names_no_reference_by_itself(results: Results) -> None:
    results.sweep("wide", plan="name: wide\n", kind="grid")
    ablation_of(results, {"rate=1": (36, 35), "rate=2": (30, 31)}, sweep="wide")
    with pytest.raises(UserError, match=r"--reference: name one of the cells: rate=1, rate=2"):
        compare(results, "wide")
    found = compare(results, "wide", Question(reference="rate=2", how=QUICK))
    assert lines(found)["rate=1"].row.difference == pytest.approx(10 / 72)


def test_a_factorial_design_has_effects(results: Results) -> None:
    results.sweep(plan=FACTORIAL)
    right = {"reference": (36, 36), "adversary": (32, 32), "divergence": (35, 35), "adversary+divergence": (27, 27)}
    ablation_of(results, right)
    (section,) = compare(results).sections
    effects = {row.term: row for row in section.effects}
    # In answers: (32 + 27 − 36 − 35)/2, (35 + 27 − 36 − 32)/2, (36 + 27 − 32 − 35)/2; the teacher has 36.
    assert effects["adversary"].estimate == pytest.approx(-6 / 36)
    assert effects["divergence"].estimate == pytest.approx(-3 / 36)
    assert effects["adversary × divergence"].estimate == pytest.approx(-2 / 36)
    assert [row.p_adjusted for row in section.effects] == holm([row.p for row in section.effects])


def test_a_factorial_design_with_a_cell_missing_estimates_nothing(results: Results) -> None:
    results.sweep(plan=FACTORIAL)
    ablation_of(results, {"reference": (36, 36, 36), "adversary": (32, 32, 32), "divergence": (35, 35, 35)})
    (section,) = compare(results).sections
    assert {row.estimate for row in section.effects} == {None}
    assert section.effects[0].missing == tuple(f"adversary+divergence: seed {seed}" for seed in (0, 1, 2))


def two_tasks(results: Results) -> None:
    results.sweep(plan=TASKS)
    ablation_of(results, {"reference@movies": (36, 36, 36), "adversary@movies": (30, 30, 33)})
    rows = {"reference@topics": (18, 18, 18), "adversary@topics": (9, 18, 18)}
    for cell, counts in rows.items():
        for seed, right in enumerate(counts):
            results.trial(cell, seed, logits(right, rows=20), teacher=logits(20, rows=20), task="topics")


def test_several_tasks_are_compared_one_by_one_and_together(results: Results) -> None:
    two_tasks(results)
    found = compare(results)
    assert [(s.task, s.examples) for s in found.sections] == [("movies", 40), ("topics", 20), (ALL_TASKS, None)]
    assert lines(found, 0)["adversary"].row.mean == pytest.approx(93 / 108)
    assert lines(found, 1)["adversary"].row.mean == pytest.approx(45 / 60)
    # Ratio of means: (accuracy on movies + accuracy on topics) / (0.9 + 1), over seeds.
    assert lines(found, 2)["adversary"].row.mean == pytest.approx((93 / 120 + 45 / 60) / 1.9)
    assert lines(found, 2)["reference"].row.mean == pytest.approx((0.9 + 0.9) / 1.9)
    p = [line.row.p for section in found.sections for line in section.lines]
    assert [line.row.p_adjusted for section in found.sections for line in section.lines] == holm(p)
    assert found.comparisons == 3


def test_over_tasks_a_seed_must_be_on_all_of_them(results: Results) -> None:
    results.sweep(plan=TASKS)
    ablation_of(results, {"reference@movies": (36, 36, 36), "adversary@movies": (30, 30, 33)})
    ablation_of(results, {"reference@topics": (36, 36, 36), "adversary@topics": (30,)}, task="topics")
    row = lines(compare(results), 2)["adversary"].row
    assert (row.n_seeds, row.missing_seeds) == (1, (1, 2))
    assert row.difference == pytest.approx(-12 / 72)


def test_a_task_where_retention_is_no_number_stays_out_of_the_whole(results: Results) -> None:
    results.sweep(plan=PLAN + "tasks: [movies, topics, cola]\n")
    for task, teacher in (("movies", None), ("topics", None), ("cola", logits(0))):
        cells = {f"reference@{task}": (36, 36), f"adversary@{task}": (30, 30)}
        ablation_of(results, cells, task=task, teacher=teacher)
    found = compare(results)
    assert [(s.task, s.measure) for s in found.sections][2:] == [("cola", "accuracy"), (ALL_TASKS, "retention")]
    assert found.sections[3].notes == ("Without cola, where retention is no number.",)
    assert lines(found, 3)["adversary"].row.mean == pytest.approx(30 / 36)


def test_what_the_design_could_detect_comes_from_the_noise_found(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)})
    power = compare(results).sections[0].power
    assert power is not None
    assert (power.seeds, power.comparisons) == (3, 1)
    assert power.difference is not None
    assert 0.05 < power.difference < 0.5

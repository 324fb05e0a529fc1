"""What students keep: by task and over tasks, with what they cost beside it."""

import json
from pathlib import Path

import numpy as np
import pytest

from limbeck.analysis.retention import Kept, Retention, retention
from limbeck.analysis.retention_tables import raw_retention, retention_tables
from limbeck.analysis.samples import MEAN_OF_RATIOS, RATIO_OF_MEANS
from limbeck.compare import Resampling
from limbeck.report import to_json, to_latex, to_text
from limbeck.store.rows import class_names
from stored_results import PLAN, Results, ablation_of, logits

QUICK = Resampling(resamples=200)
FINETUNE, MATE = {"method": {"name": "finetune"}}, {"method": {"name": "mate"}}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def measure(results: Results, split: str | None = None) -> Retention:
    return retention(results.reader(), "parts", np.random.default_rng(0), split, QUICK)


def rows(found: Retention) -> dict[tuple[str, str, str], Kept]:
    return {(kept.task, kept.split, kept.cell): kept for kept in found.rows}


def test_every_measure_of_a_cell(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (38, 38, 37)}, spec=MATE)
    ablation_of(results, {"plain": (32, 32, 31)}, spec=FINETUNE)
    found = rows(measure(results))["movies", "test", "reference"]
    assert (found.method, found.metric, found.teacher, found.missing_seeds) == ("mate", "accuracy", 0.9, ())
    means = {name: interval.mean for name, interval in found.found.items()}
    assert means["value"] == pytest.approx(113 / 120)
    assert means["retention"] == pytest.approx(113 / 108)
    # From 95 right answers of fine-tuning to the teacher's 108: 18 of 13.
    assert means["gap_closed"] == pytest.approx(18 / 13)
    # The students err on their first answers, the teacher on its last four.
    assert means["agreement"] == pytest.approx((34 + 34 + 33) / 120)
    assert means["kl"] > 0
    assert 0 < means["ece"] < 0.2
    # Of 20 zeros the students find 19, 19 and 18 or 19 by seed; of 20 ones as many; the teacher 18 of each.
    assert means["class 0"] + means["class 1"] == pytest.approx(113 / 54)
    for interval in found.found.values():
        assert interval.low <= interval.mean <= interval.high
    assert "gap_closed" not in rows(measure(results))["movies", "test", "plain"].found


def test_costs_stand_beside(results: Results, tmp_path: Path) -> None:
    results.sweep()
    student = tmp_path / "run" / "student"
    student.mkdir(parents=True)
    (student / "model.safetensors").write_bytes(b"x" * 1234)
    metrics = {"train_seconds": 7.0, "latency_ms/batch1/p50": 2.5, "latency_ms/batch32/p50": 40.0}
    results.trial("reference", 0, logits(38), metrics={**metrics, "disk_bytes": 999.0})
    trial = results.trial("reference", 1, logits(38), metrics={**metrics, "train_seconds": 9.0})
    results.store.start_trial("parts", trial, folder=str(tmp_path / "run"))
    results.store.finish_trial("parts", trial, "complete")
    cost = measure(results).rows[0].cost
    assert cost is not None
    assert (cost.train_seconds, cost.latency_ms_batch1, cost.latency_ms_batch32) == (8.0, 2.5, 40.0)
    assert cost.disk_bytes == (999 + 1234) / 2
    assert (cost.parameters, cost.parameters_non_embedding) == (1000, None)


def test_all_test_sets_or_one(results: Results) -> None:
    results.sweep()
    trial = results.trial("reference", 0, logits(38))
    more = {"amazon/accuracy": 0.75, "teacher/amazon/accuracy": 0.8}
    results.store.record_progress("parts", trial, 100, 100, 10.0, more)
    results.store.finish_trial("parts", trial, "complete")
    found = rows(measure(results))
    assert [split for _, split, _ in found] == ["test", "amazon"]
    amazon = found["movies", "amazon", "reference"].found["retention"]
    assert amazon.mean == pytest.approx(0.75 / 0.8)
    assert np.isnan(amazon.low)
    assert [kept.split for kept in measure(results, "amazon").rows] == ["amazon"]


def test_over_tasks_both_ways(results: Results) -> None:
    results.sweep(plan=PLAN + "tasks: [movies, topics, cola]\n")
    ablation_of(results, {"reference@movies": (36, 36)}, task="movies")
    ablation_of(results, {"reference@topics": (20, 20)}, task="topics", teacher=logits(20))
    ablation_of(results, {"reference@cola": (20, 20)}, task="cola", teacher=logits(0))
    found = measure(results)
    by_place = rows(found)
    assert by_place[RATIO_OF_MEANS, "test", "reference"].found["retention"].mean == pytest.approx(56 / 56)
    assert by_place[MEAN_OF_RATIOS, "test", "reference"].found["retention"].mean == pytest.approx(1.0)
    assert "retention" not in by_place["cola", "test", "reference"].found
    assert any("cola (test): the teacher's accuracy is 0, not above zero" in note for note in found.notes)
    assert by_place[RATIO_OF_MEANS, "test", "reference"].missing_seeds == (2,)


def test_ratio_of_means_weighs_tasks_by_their_teachers(results: Results) -> None:
    results.sweep(plan=PLAN + "tasks: [movies, topics]\n")
    ablation_of(results, {"reference@movies": (36, 36, 36)}, task="movies", teacher=logits(40))
    ablation_of(results, {"reference@topics": (20, 20, 20)}, task="topics", teacher=logits(10))
    by_place = rows(measure(results))
    assert by_place[RATIO_OF_MEANS, "test", "reference"].found["retention"].mean == pytest.approx(56 / 50)
    assert by_place[MEAN_OF_RATIOS, "test", "reference"].found["retention"].mean == pytest.approx((0.9 + 2) / 2)


def test_a_search_is_measured_too(results: Results) -> None:
    results.sweep(plan="name: parts\n", kind="search")
    results.trial("0000", 0, logits(38))
    results.trial("0001", 0, None, state="stopped")
    found = rows(measure(results))
    assert found["movies", "test", "0001"].missing_seeds == (0,)
    assert found["movies", "test", "0001"].cost is None


def test_the_tables(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (38, 38)}, spec=MATE)
    ablation_of(results, {"plain": (32, 32, 32)}, spec=FINETUNE)
    found = measure(results)
    table, others, classes = retention_tables(found)
    assert table.caption == (
        "parts on movies (test); teacher's accuracy 90.0 %; n = 3 seeds × 40 test examples; 95 % bootstrap intervals "
        "over seeds and examples."
    )
    assert table.notes == ("movies (test): reference: no result for seed 2 (not started).",)
    text = to_text(table)
    assert "2 of 3" in text
    assert "gap closed" in text
    assert r"\textbf{105.6\,\%}" in to_latex(table)
    raw = json.loads(to_json(raw_retention(found)))
    assert [row["cell"] for row in raw] == ["reference", "plain"]
    assert raw[0]["missing_seeds"] == [2]
    assert raw[0]["gap_closed"] == pytest.approx(1.5)
    assert raw[1]["gap_closed"] is None
    assert [column.heading for column in classes.columns] == ["configuration", "class 0", "class 1"]
    low, high = (100 * raw[0][f"class_0_{end}"] for end in ("low", "high"))
    assert classes.rows[0][1] == f"{100 * raw[0]['class_0']:.1f} ({low:.1f} to {high:.1f})"
    assert [column.heading for column in others.columns[1:]] == ["gap closed, %", "agreement, %", "KL", "ECE, %"]
    low, high = (100 * raw[0][f"agreement_{end}"] for end in ("low", "high"))
    assert others.rows[0][2] == f"{100 * raw[0]['agreement']:.1f} ({low:.1f} to {high:.1f})"
    assert others.rows[0][3] == f"{raw[0]['kl']:.3f} ({raw[0]['kl_low']:.3f} to {raw[0]['kl_high']:.3f})"
    assert others.rows[1][1] is None, "no gap between fine-tuning and itself"
    results.store.add_notes("parts", {class_names("movies-1"): ["negative", "positive"]})
    named = measure(results)
    assert [column.heading for column in retention_tables(named)[2].columns][1:] == ["negative", "positive"]
    assert raw_retention(named).rows[0][8] == ["negative", "positive"]
    assert raw[0]["class_0_low"] <= raw[0]["class_0"] <= raw[0]["class_0_high"]


def test_more_classes_than_configurations_are_rows(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (38, 38)})
    classes = retention_tables(measure(results))[2]
    assert [column.heading for column in classes.columns] == ["class", "reference"]
    assert [row[0] for row in classes.rows] == ["class 0", "class 1"]
    assert "over seeds and examples" in classes.caption


def test_one_run_has_an_interval_over_examples(results: Results) -> None:
    results.sweep()
    ablation_of(results, {"reference": (38,)})
    assert retention_tables(measure(results))[0].caption.endswith("95 % bootstrap intervals over examples.")

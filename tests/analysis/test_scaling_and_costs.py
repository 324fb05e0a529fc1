"""Lines through runs of different sizes, and what runs cost until enough was kept."""

from pathlib import Path
from typing import Any

import pytest

from limbeck.analysis.costs import costs, costs_table
from limbeck.analysis.scaling import curves_table, points_table, scaling
from limbeck.errors import UserError
from limbeck.report import to_text
from stored_results import Results, logits


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.sweep("sizes", "name: sizes\n", "grid")
    return made


def run(results: Results, cell: str, seed: int, kept: float, **more: Any) -> None:
    method = more.pop("method", "mate")
    training = more.pop("training", {})
    metrics = {"test/retention": kept, **more.pop("metrics", {})}
    spec = {"method": {"name": method}, "training": training}
    results.trial(cell, seed, logits(36), sweep=more.pop("sweep", "sizes"), spec=spec, metrics=metrics, **more)


def test_a_line_for_every_method(results: Results) -> None:
    for size in (1_000, 10_000, 100_000):
        for seed, noise in enumerate((-0.01, 0.01)):
            kept = 0.7 + 0.05 * (len(str(size)) - 4) + noise
            run(results, f"mate {size}", seed, kept, parameters=size)
    run(results, "kd", 0, 0.8, method="kd", parameters=1_000)
    found = scaling(results.reader(), ["sizes"])
    mate, kd = found.curves
    assert (mate.method, mate.sizes, len(mate.points)) == ("mate", [1e3, 1e4, 1e5], 6)
    assert mate.line is not None
    assert mate.line.slope == pytest.approx(0.05)
    assert mate.line.slope_low < 0.05 < mate.line.slope_high
    assert kd.line is None
    lines, points = curves_table(found), points_table(found)
    no_line = "No line, which needs three runs at two sizes or more: kd on movies."
    assert lines.notes == ("movies: 100 student updates a run.", no_line)
    assert "+5.0 %" in to_text(lines)
    assert points.rows[0][2:6] == (1000.0, 2, pytest.approx(0.7), pytest.approx(0.7))


def test_sizes_of_different_fidelity_are_refused_but_not_along_rows(results: Results) -> None:
    for rows, updates in ((300, 10), (1_000, 30), (3_000, 90)):
        run(results, f"rows={rows}", 0, 0.8, updates=(updates, updates), training={"rows": rows})
    with pytest.raises(UserError, match="mixed fidelity"):
        scaling(results.reader(), ["sizes"])
    (curve,) = scaling(results.reader(), ["sizes"], "rows").curves
    assert curve.sizes == [300, 1_000, 3_000]


def test_sweeps_of_different_fidelity_are_refused(results: Results) -> None:
    run(results, "a", 0, 0.8, updates=(10, 10))
    results.sweep("more", "name: more\n", "grid")
    run(results, "a", 1, 0.8, updates=(20, 20), sweep="more")
    with pytest.raises(UserError, match="sizes 10 student updates, more 20 student updates"):
        scaling(results.reader(), ["sizes", "more"])


def test_all_rows_are_counted_from_the_epochs(results: Results) -> None:
    run(results, "all", 0, 0.8, updates=(96, 96), training={"rows": None, "batch_size": 32}, metrics={"epoch": 3.0})
    (curve,) = scaling(results.reader(), ["sizes"], "rows").curves
    assert curve.sizes == [1024]


def test_a_size_that_nobody_measured_is_said(results: Results) -> None:
    run(results, "a", 0, 0.8)
    with pytest.raises(UserError, match="no complete run has both its parameters_non_embedding"):
        scaling(results.reader(), ["sizes"], "parameters_non_embedding")


def test_costs_count_what_came_to_nothing(results: Results) -> None:
    results.trial("a", 0, logits(33), sweep="sizes", seconds=10.0, spec={"method": "kd"})
    results.trial("b", 0, None, sweep="sizes", seconds=4.0, state="stopped", spec={"method": "kd"})
    results.trial("c", 0, logits(36), sweep="sizes", seconds=20.0, spec={"method": "kd"})
    results.trial("d", 0, None, sweep="sizes", seconds=1.0, state="failed", error="diverged", spec={"method": "kd"})
    results.trial("e", 0, logits(30), sweep="sizes", seconds=5.0, spec={"method": "mate"})
    kd, mate = costs(results.reader(), ["sizes"], (0.9, 0.99, 1.1))
    assert (kd.method, kd.trials, kd.complete, kd.stopped, kd.failed) == ("kd", 4, 2, 1, 1)
    assert (kd.seconds, kd.lost_seconds, kd.median_seconds, kd.best) == (35.0, 5.0, 15.0, 1.0)
    assert kd.reached == (10.0, 34.0, None)
    assert (mate.reached, mate.best) == ((None, None, None), pytest.approx(30 / 36))
    table = costs_table([kd, mate], (0.9, 0.99, 1.1))
    assert [column.heading for column in table.columns][-3:] == ["until 90.0 %", "until 99.0 %", "until 110.0 %"]
    assert "34.0 s" in to_text(table)

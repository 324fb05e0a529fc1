"""Who may speak of importances: configurations that ran to their end, whole ones only."""

from pathlib import Path

import pytest

from limbeck.analysis.importances import importances_table, tried
from limbeck.errors import UserError
from stored_results import Results, logits


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.sweep("found", "name: found\n", "search")
    return made


def searched(results: Results, count: int) -> None:
    for number in range(count):
        metrics = {"retention": number / 100}
        results.trial(f"{number:04d}", 0, logits(36), sweep="found", values={"rate": number}, metrics=metrics)


def test_stopped_and_failed_configurations_are_left_out(results: Results) -> None:
    searched(results, 10)
    halfway = {"retention": 0.99}
    results.trial("0010", 0, None, sweep="found", state="stopped", progress=halfway, values={"rate": 99})
    results.trial("0011", 0, None, sweep="found", state="failed", error="diverged", values={"rate": 98})
    found = tried(results.reader(), "found")
    assert [v["rate"] for v in found.values] == list(range(10))
    assert found.scores == tuple(n / 100 for n in range(10))
    assert (found.stopped, found.failed) == (1, 1)
    assert (found.objective, found.direction) == ("retention", "max")
    table = importances_table(found, {"rate": 0.25, "size": 0.75}, "ped-anova")
    assert table.rows == (("size", 0.75), ("rate", 0.25))
    assert "10 configurations that ran to their end; 1 stopped early and 1 unfinished are left out" in table.caption


def test_seeds_of_a_configuration_count_as_one(results: Results) -> None:
    searched(results, 10)
    results.trial("0000", 1, logits(36), sweep="found", values={"rate": 0}, metrics={"retention": 0.5})
    assert tried(results.reader(), "found").scores[0] == pytest.approx(0.25)
    results.trial("0001", 1, None, sweep="found", state="stopped", values={"rate": 1})
    with pytest.raises(UserError, match="9 configurations ran to their end; importances need 10 or more"):
        tried(results.reader(), "found")


def test_an_ablation_varies_nothing(results: Results) -> None:
    results.sweep()
    with pytest.raises(UserError, match="nothing varies in it"):
        tried(results.reader(), "parts")

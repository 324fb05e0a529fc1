"""The best configurations on fresh seeds: who is best, the plan that re-runs exactly them, and the marks in tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.analysis.confirm import (
    best_cells,
    changes,
    confirm_plan,
    confirmations,
    fresh_seeds,
    with_confirmations,
    without_seed,
)
from limbeck.errors import UserError
from limbeck.plan import parse_plan
from limbeck.report import leaderboard, leaderboard_table, to_csv
from limbeck.yaml_strict import dump_yaml
from stored_results import PLAN, Results, logits

SEARCH = """
name: found
base:
  task: movies
  method: {name: mate, mask_rate: 0.3}
  training: {updates: 100}
vary:
  method:
    choice: [{name: kd, temperature: 2.0}, {name: mate, mask_rate: 0.4}]
  student.layers: {choice: [1, 2]}
search: {sampler: random, trials: 4}
seeds: [0, 1]
cluster: {cpus: 2}
"""


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.sweep("found", SEARCH, "search")
    return made


def configurations() -> dict[str, dict[str, Any]]:
    kd, mate = {"name": "kd", "temperature": 2.0}, {"name": "mate", "mask_rate": 0.4}
    return {
        "0000": {"method": kd, "student.layers": 1},
        "0001": {"method": mate, "student.layers": 2},
        "0002": {"method": kd, "student.layers": 2},
    }


def searched(results: Results, scores: dict[str, tuple[float, ...]]) -> None:
    plan = parse_plan(SEARCH, "found")
    for cell, of_seeds in scores.items():
        for seed, score in enumerate(of_seeds):
            values = configurations()[cell]
            spec = plan.spec(values, seed).model_dump(mode="json")
            metrics = {"retention": score}
            results.trial(cell, seed, logits(36), sweep="found", spec=spec, values=values, metrics=metrics)


def test_configurations_rank_by_their_mean_over_seeds(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.80), "0001": (0.95, 0.95), "0002": (0.90, 0.91)})
    found = best_cells(results.reader(), "found", 2)
    assert [one.cell for one in found] == ["0001", "0002"]
    assert found[0].objective == {"retention": pytest.approx(0.95)}
    assert "seed" not in found[0].spec


def test_a_configuration_without_all_its_seeds_is_not_best(results: Results) -> None:
    searched(results, {"0000": (0.90, 0.90), "0001": (0.95,)})
    results.trial("0001", 1, None, sweep="found", state="failed", error="diverged")
    results.trial("0002", 0, None, sweep="found", state="stopped", progress={"retention": 0.99})
    assert [one.cell for one in best_cells(results.reader(), "found", 5)] == ["0000"]


def test_nothing_to_confirm_is_said(results: Results) -> None:
    results.trial("0000", 0, None, sweep="found", state="failed", error="diverged")
    with pytest.raises(UserError, match="nothing to confirm"):
        best_cells(results.reader(), "found", 3)
    results.sweep("parts", PLAN + "tasks: [movies, topics]\n")
    with pytest.raises(UserError, match="several tasks"):
        best_cells(results.reader(), "parts", 3)


def test_the_plan_runs_exactly_the_best_again(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.99), "0001": (0.95, 0.95), "0002": (0.90, 0.91)})
    best = best_cells(results.reader(), "found", 3)
    seeds = fresh_seeds(results.reader().trials("found"), 3)
    assert seeds == (2, 3, 4)
    raw = confirm_plan(results.reader().sweep("found"), best, seeds, "found-confirm")
    plan = parse_plan(dump_yaml(raw), "found-confirm")
    assert (plan.name, plan.kind, plan.seeds, plan.cluster.cpus) == ("found-confirm", "ablation", seeds, 2)
    assert [cell.name for cell in plan.cells()] == ["reference", "rank 2", "rank 3"]
    rerun = [plan.spec(cell.values, 7).model_dump(mode="json") for cell in plan.cells()]
    assert [without_seed(spec) for spec in rerun] == [one.spec for one in best]


def test_one_configuration_is_a_plan_of_its_own(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.99)})
    raw = confirm_plan(results.reader().sweep("found"), best_cells(results.reader(), "found", 1), (5,), "found-confirm")
    plan = parse_plan(dump_yaml(raw), "found-confirm")
    assert (plan.kind, [cell.name for cell in plan.cells()]) == ("single", ["base"])


def test_changes_replace_the_least_there_is() -> None:
    base = {"method": {"name": "kd", "temperature": 1.0, "on": 1}, "task": {"name": "movies"}, "sources": []}
    assert changes(base, base) == {}
    other = {**base, "method": {"name": "kd", "temperature": 2.0, "on": True}}
    assert changes(base, other) == {"method.temperature": 2.0, "method.on": True}
    other = {**base, "method": {"name": "mate", "temperature": 1.0, "on": 1}, "sources": ["amazon"]}
    assert changes(base, other) == {"method": other["method"], "sources": ["amazon"]}


def confirmed(results: Results, seeds: tuple[int, ...] = (2, 3), right: int = 33) -> None:
    """Run the first configuration again."""
    plan = parse_plan(SEARCH, "found")
    results.sweep("found-confirm", f"name: found-confirm\nseeds: [{', '.join(map(str, seeds))}, 9]\n", "single")
    for seed in seeds:
        spec = plan.spec(configurations()["0000"], seed).model_dump(mode="json")
        results.trial("base", seed, logits(right), sweep="found-confirm", spec=spec)


def test_what_was_confirmed_belongs_to_its_configuration(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.99), "0001": (0.95, 0.95)})
    assert confirmations(results.reader(), "found", np.random.default_rng(0)) == {}
    confirmed(results)
    found = confirmations(results.reader(), "found", np.random.default_rng(0))
    assert list(found) == ["0000"]
    assert (found["0000"].sweep, found["0000"].missing_seeds) == ("found-confirm", (9,))
    assert (found["0000"].retention.mean, found["0000"].retention.seeds) == (pytest.approx(33 / 36), 2)


def test_seeds_that_chose_do_not_confirm(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.99)})
    confirmed(results, seeds=(1, 2))
    assert confirmations(results.reader(), "found", np.random.default_rng(0)) == {}


def test_leaderboards_mark_what_is_confirmed(results: Results) -> None:
    searched(results, {"0000": (0.99, 0.99), "0001": (0.95, 0.95)})
    confirmed(results)
    reader = results.reader()
    rows = leaderboard(reader, "found")
    table = with_confirmations(
        leaderboard_table(rows, reader.sweep("found")),
        rows,
        confirmations(reader, "found", np.random.default_rng(0)),
    )
    assert [column.key for column in table.columns[-2:]] == ["confirmed", "confirmed_over"]
    assert table.rows[0][-2] == pytest.approx(33 / 36)
    assert table.rows[0][-1].endswith("% (2 seeds, 1 missing)")
    assert table.rows[2][-2:] == (None, "unconfirmed")
    assert "unconfirmed" in to_csv(table)

"""Whole sweeps of toy trials on a real Ray, one for all tests of this file."""

import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import ray
from cluster_toys import DIES, DIES_ONCE, DIVERGES, RAISES, TOY, ToyStock, toy_train, undisturbed
from rich.console import Console

from limbeck.cluster import tuning
from limbeck.cluster.engine import Engine
from limbeck.cluster.sweep import Site, SweepResult, run_sweep, stored_plan
from limbeck.errors import Problem, UserError
from limbeck.plan import Plan
from limbeck.store import open_reader
from limbeck.trial import TrialSpec

MakePlan = Callable[..., Plan]
pytestmark = [pytest.mark.usefixtures("ray_here"), pytest.mark.slow]


class Run:
    """A sweep that was run, what it said, and what it left."""

    def __init__(self, plan: Plan, site: Site, engine: Engine = TOY, *, resume: bool = False) -> None:
        out = io.StringIO()
        console = Console(width=120, file=out)
        self.result: SweepResult = run_sweep(plan, site, resume=resume, console=console, engine=engine)
        self.said = out.getvalue()
        with open_reader(site.database) as reader:
            self.sweep = reader.sweep(plan.name)
            self.rows = {row.trial: row for row in reader.trials(plan.name)}
            self.curves = reader.metrics(plan.name)


def test_a_search_with_every_kind_of_trouble(
    make_plan: MakePlan, site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(
        f"""
vary:
  method.mask_rate: {{uniform: [0.1, 0.5]}}
  training.weight_decay: {{choice: [0.01, 0.02, {DIVERGES}, {RAISES}]}}
search: {{sampler: random, trials: 12, early_stop: asha, grace: 0.25, reduction: 2, seed: 3}}
seeds: [0, 1]
"""
    )
    run = Run(plan, site)
    captured = capfd.readouterr()
    assert captured.out + captured.err == "", "Ray keeps quiet"

    states = Counter(row.state for row in run.rows.values())
    assert len(run.rows) == 24 and set(states) == {"complete", "stopped", "failed"}
    standing = run.result.standing
    assert (standing.complete, standing.stopped, standing.failed) == tuple(
        states[state] for state in ("complete", "stopped", "failed")
    )
    assert (run.result.state, run.sweep.state, run.result.exit_code) == ("complete", "complete", 1)
    assert run.sweep.notes["prepared"] == ["toy teacher: fitted"] and run.sweep.notes["trials_at_once"] >= 1
    assert run.sweep.notes["home"]["path"] == str(site.home)

    pids: Counter[float] = Counter()
    for row in run.rows.values():
        decay = row.values["training.weight_decay"]
        assert (row.state == "failed") == (decay in (DIVERGES, RAISES)), row.error
        if decay == DIVERGES:
            assert "diverged" in str(row.error) and row.traceback is None
        if decay == RAISES:
            assert row.error == "RuntimeError: the toy broke" and "toy_train" in str(row.traceback)
        if row.state == "complete":
            assert row.metrics["threads"] == 1
            pids[row.metrics["pid"]] += 1
            for name, value in undisturbed(row, tmp_path / "alone" / row.trial).items():
                assert row.metrics[name] == pytest.approx(value), name
        if row.state == "stopped":
            assert 0 < row.updates < row.updates_total and "retention" in row.objective
            assert not (Path(str(row.folder)) / "predictions").exists()
    assert max(pids.values()) > 1, "actors are used again"
    assert run.curves["value"].notna().all()
    check_the_study(site, run)
    assert not (site.home / "toy" / ".tune").exists()


def check_the_study(site: Site, run: Run) -> None:
    """Optuna was told PRUNED for stopped, FAIL for failed, and the mean over seeds for the others."""
    storage = optuna.storages.RDBStorage(site.database)
    study = optuna.load_study(study_name="toy", storage=storage)
    assert len(study.trials) == 12
    for trial in study.trials:
        mine = [run.rows[name] for name in trial.user_attrs["trials"]]
        assert len(mine) == 2 and {row.cell for row in mine} == {trial.user_attrs["cell"]}
        states = {row.state for row in mine}
        expected = "FAIL" if "failed" in states else "PRUNED" if "stopped" in states else "COMPLETE"
        assert trial.state.name == expected
        if expected == "COMPLETE":
            assert trial.value == pytest.approx(sum(row.objective["retention"] for row in mine) / 2)
    storage.remove_session()
    storage.engine.dispose()


def test_an_ablation_ends_whatever_kills_its_trials(
    make_plan: MakePlan, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "DEATHS_FORGIVEN", 1)
    factors = f"{{dies: {{training.weight_decay: {DIES}}}, dies once: {{training.weight_decay: {DIES_ONCE}}}}}"
    plan = make_plan(f"ablate: {{design: leave-one-out, factors: {factors}}}\n")
    run = Run(plan, site)
    captured = capfd.readouterr()
    assert captured.out + captured.err == "", "Ray keeps quiet"
    by_cell = {row.cell: row for row in run.rows.values()}
    assert {cell: row.state for cell, row in by_cell.items()} == {
        "reference": "complete",
        "dies": "failed",
        "dies once": "complete",
    }
    assert "died again and again" in str(by_cell["dies"].error)
    again = by_cell["dies once"]
    assert again.metrics["resumed"] == 1, "it goes on where it was"
    assert again.metrics["retention"] == pytest.approx(undisturbed(by_cell["reference"], tmp_path / "a")["retention"])
    assert f"trial {again.trial}: its process died; it goes on from its last checkpoint" in run.said
    assert run.said.splitlines()[-1].startswith("3/3 trials: 1 failed, best retention 0.3")

    # Once more under the same name: refused, and nothing is lost.
    with pytest.raises(UserError, match="toy: there is a sweep of this name"):
        run_sweep(plan, site, engine=TOY)
    assert stored_plan(site.database, "toy") == plan
    resumed = Run(plan, site, resume=True)
    lost = by_cell["dies"].trial
    kept = {trial: row for trial, row in run.rows.items() if trial != lost}
    assert {trial: row for trial, row in resumed.rows.items() if trial != lost} == kept, "what has ended stays as it is"
    assert resumed.rows[lost].state == "failed", "what failed in an ablation is tried again"
    assert resumed.result == run.result and resumed.result.exit_code == 1


@pytest.mark.parametrize(
    ("sampler", "cost"), [("nsga2", "latency_ms/onnx/batch1/p50"), ("tpe", "parameters")], ids=["nsga2", "tpe"]
)
def test_quality_against_cost_within_limits(make_plan: MakePlan, site: Site, sampler: str, cost: str) -> None:
    """Students above a limit are refused untrained, and the study has the front of all others."""
    plan = make_plan(
        f"""
vary:
  student.layers: {{choice: [1, 2, 3]}}
  method.mask_rate: {{uniform: [0.1, 0.5]}}
search: {{sampler: {sampler}, trials: 12, startup: 4}}
limits: {{parameters: 2000000}}
""",
        f"objective={{retention: max, {cost}: min}}",
    )
    run = Run(plan, site)
    large = {name for name, row in run.rows.items() if row.values["student.layers"] == 3}
    assert 0 < len(large) < len(run.rows) == 12
    for name, row in run.rows.items():
        assert row.state == ("stopped" if name in large else "complete"), row.error
        assert (row.updates == 0) == (name in large)
        if name in large:
            assert row.error == "parameters of 3,000,000 is above the plan's limit of 2,000,000"
        else:
            assert row.objective == {"retention": row.metrics["retention"], cost: row.metrics[cost]}
    storage = optuna.storages.RDBStorage(site.database)
    study = optuna.load_study(study_name="toy", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    best: dict[float, float] = {}
    for row in run.rows.values():
        if row.state == "complete":
            best[row.objective[cost]] = max(row.objective["retention"], best.get(row.objective[cost], 0.0))
    front = {(retention, value) for value, retention in best.items()}
    expected = {one for one in front if not any(o[0] >= one[0] and o[1] <= one[1] for o in front - {one})}
    assert {tuple(trial.values) for trial in study.best_trials} == expected
    storage.remove_session()
    storage.engine.dispose()


class RefusingStock(ToyStock):
    """Finds the user's teacher wanting."""

    def prepare(self, spec: TrialSpec) -> None:  # type: ignore[override]
        raise UserError(Problem("base.teacher", "no better than chance"))


def test_what_cannot_run_is_refused_and_leaves_nothing_behind(make_plan: MakePlan, site: Site) -> None:
    with pytest.raises(UserError) as error:
        run_sweep(make_plan("cluster: {cpus: 4000}\n"), site, engine=TOY)
    assert str(error.value).startswith("cluster.cpus: a trial takes 4000 CPUs, and there are ")
    with pytest.raises(UserError, match=r"^base\.teacher: no better than chance$"):
        run_sweep(make_plan(""), site, engine=Engine(RefusingStock, toy_train, TOY.sizes))
    with pytest.raises(UserError, match="no sweep is named 'toy'"):
        run_sweep(make_plan(""), site, engine=TOY, resume=True)
    with open_reader(site.database) as reader:
        assert reader.sweeps() == []


def test_nothing_stays_behind_on_the_cluster() -> None:
    end = time.monotonic() + 60
    while ray.available_resources().get("CPU") != ray.cluster_resources().get("CPU"):
        assert time.monotonic() < end, "CPUs are still held"
        time.sleep(0.1)
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}

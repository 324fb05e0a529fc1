from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from limbeck.cluster import study as module
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.study import Study, Verdict
from limbeck.plan import Plan

MakePlan = Callable[..., Plan]
VARY = """
vary:
  method.mask_rate: {uniform: [0.1, 0.5], step: 0.1}
  training.learning_rate: {loguniform: [1e-5, 1e-4]}
  student.layers: {int: [1, 4]}
  method.divergence: {choice: [kl, ce, mse]}
  method.generator.temperature: {uniform: [0.5, 2.0], when: {method.divergence: kl}}
"""


def search(sampler: str) -> str:
    return f"{VARY}search: {{sampler: {sampler}, trials: 20, startup: 4}}\n"


def score(values: dict[str, Any]) -> float:
    return float(values["method.mask_rate"]) + values["training.learning_rate"] * 1e4


def play(study: Study, count: int) -> list[dict[str, Any]]:
    """Ask `count` times; every fifth fails, every fourth is stopped, one in three stays unanswered for a round."""
    asked = []
    for _ in range(count):
        item = study.ask()
        study.admit(item.number, {"trials": [f"t{item.number}"]})
        asked.append(item.values)
        if item.number % 3 != 2:
            study.tell(item.number, verdict(item.number, item.values))
        if item.number % 3 == 0 and item.number:
            study.tell(item.number - 1, verdict(item.number - 1, asked[-2]) if len(asked) > 1 else Verdict("failed"))
    return asked


def verdict(number: int, values: dict[str, Any]) -> Verdict:
    if number % 5 == 4:
        return Verdict("failed")
    return Verdict("stopped" if number % 4 == 3 else "complete", (score(values),), 7)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_restored_study_asks_what_an_undisturbed_one_asks(sampler: str, make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan(search(sampler))
    undisturbed = play(Study(plan), 12)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mirror = Mirror(url, plan)
    before = play(Study(plan, mirror), 6)
    mirror.close()
    again = Mirror(url, plan)
    study = Study(plan, again)
    history = study.restore()
    assert [item.values for item in history] == before == undisturbed[:6]
    assert [item.running for item in history] == [False, False, False, False, False, True]
    assert play(study, 6)[0] == undisturbed[6]
    again.close()


def test_what_is_remembered_changes_no_proposal(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(search("tpe"))
    ours = play(Study(plan), 24)

    def plain(memory: object, **settings: Any) -> optuna.samplers.TPESampler:
        return optuna.samplers.TPESampler(constant_liar=True, **settings)

    monkeypatch.setattr(module, "Tpe", plain)
    assert ours == play(Study(plan), 24)


def test_two_objectives_are_searched_by_generations(make_plan: MakePlan, tmp_path: Path) -> None:
    two = search("nsga2").replace("vary:", "vary:", 1)
    plan = make_plan(two, "objective={retention: max, parameters: min}")

    def run(study: Study, count: int) -> list[dict[str, Any]]:
        asked = []
        for _ in range(count):
            item = study.ask()
            study.admit(item.number, {})
            study.tell(item.number, Verdict("complete", (score(item.values), float(item.values["student.layers"]))))
            asked.append(item.values)
        return asked

    undisturbed = run(Study(plan), 14)
    mirror = Mirror(f"sqlite:///{tmp_path / 'a.db'}", plan)
    run(Study(plan, mirror), 7)
    study = Study(plan, mirror)
    study.restore()
    assert run(study, 7) == undisturbed[7:]
    mirror.close()


def test_conditional_parameters_are_asked_only_where_they_count(make_plan: MakePlan) -> None:
    asked = play(Study(make_plan(search("random"))), 20)
    assert {("method.generator.temperature" in values, values["method.divergence"]) for values in asked} == {
        (True, "kl"),
        (False, "ce"),
        (False, "mse"),
    }


def test_stepped_values_are_round(make_plan: MakePlan) -> None:
    asked = play(Study(make_plan(search("random"))), 20)
    assert {values["method.mask_rate"] for values in asked} <= {0.1, 0.2, 0.3, 0.4, 0.5}


def test_choices_may_be_tables_and_true_is_not_one(make_plan: MakePlan) -> None:
    choices = [{"layers": 2, "hidden": 128}, {"layers": 1, "hidden": 256}]
    plan = make_plan(
        """
vary:
  student: {choice: [{layers: 2, hidden: 128}, {layers: 1, hidden: 256}]}
search: {sampler: random, trials: 5}
"""
    )
    study = Study(plan)
    asked = [study.ask().values["student"] for _ in range(10)]
    assert all(value in choices for value in asked) and len({str(value) for value in asked}) == 2


def test_the_study_is_readable_by_other_tools(make_plan: MakePlan, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mirror = Mirror(url, plan := make_plan(search("random")))
    study = Study(plan, mirror)
    for state in ("complete", "stopped", "failed", None):
        item = study.ask()
        study.admit(item.number, {"trials": [f"t{item.number}"]})
        if state:
            study.tell(item.number, Verdict(state, (0.5,) if state != "failed" else (), updates=30))
    mirror.close()

    storage = optuna.storages.RDBStorage(url)
    seen = optuna.load_study(study_name="toy", storage=storage)
    assert seen.direction == optuna.study.StudyDirection.MAXIMIZE
    assert [trial.state.name for trial in seen.trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert seen.best_value == 0.5
    assert seen.trials[1].intermediate_values == {30: 0.5}
    assert seen.trials[3].user_attrs == {"trials": ["t3"]}
    assert set(seen.trials[0].params) >= {"method.mask_rate", "student.layers"}
    storage.remove_session()
    storage.engine.dispose()


def test_a_second_verdict_changes_nothing(make_plan: MakePlan) -> None:
    study = Study(make_plan(search("random")))
    number = study.ask().number
    study.admit(number, {})
    study.tell(number, Verdict("complete", (0.5,)))
    study.tell(number, Verdict("failed"))
    assert [item.running for item in study.restore()] == [False]

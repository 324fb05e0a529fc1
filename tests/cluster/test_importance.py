"""Importances: the setting that decides has most of them, conditional and composite ones count too."""

from typing import Any

import numpy as np
import pytest

from limbeck.cluster.importance import Evaluator, importances
from limbeck.plan import Plan, parse_plan

PLAN = """
name: found
base: {task: movies, method: {name: mate}}
objective: {retention: DIRECTION}
vary:
  method.mask_rate: {uniform: [0.1, 0.5]}
  training.learning_rate: {loguniform: [1e-5, 1e-4]}
  student: {choice: [{layers: 1}, {layers: 2}]}
  method.divergence: {choice: [kl, mse]}
  method.temperature: {uniform: [1.0, 5.0], when: {method.divergence: kl}}
search: {sampler: random, trials: 80}
"""


def plan(direction: str = "max") -> Plan:
    return parse_plan(PLAN.replace("DIRECTION", direction), "found")


def tried(count: int = 80) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    out: list[dict[str, Any]] = []
    for _ in range(count):
        values: dict[str, Any] = {
            "method.mask_rate": float(rng.uniform(0.1, 0.5)),
            "training.learning_rate": float(10 ** rng.uniform(-5, -4)),
            "student": {"layers": int(rng.integers(1, 3))},
            "method.divergence": str(rng.choice(["kl", "mse"])),
        }
        if values["method.divergence"] == "kl":
            values["method.temperature"] = float(rng.uniform(1, 5))
        out.append(values)
    return out


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_what_decides_has_the_greatest_share(evaluator: Evaluator) -> None:
    values = tried()
    scores = [0.9 + 0.1 * v["method.mask_rate"] + 0.001 * v["student"]["layers"] for v in values]
    found = importances(plan(), values, scores, evaluator)
    assert max(found, key=lambda path: found[path]) == "method.mask_rate"
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["method.mask_rate"] > 0.5


def test_a_composite_choice_can_decide_either_way() -> None:
    values = tried()
    scores = [float(v["student"]["layers"]) for v in values]
    for direction in ("max", "min"):
        found = importances(plan(direction), values, scores)
        assert max(found, key=lambda path: found[path]) == "student"


def test_the_best_are_what_the_direction_says() -> None:
    # Temperature exists under kl alone, and only low scores have to do with it.
    values = tried(200)
    scores = [0.1 * v["method.temperature"] if "method.temperature" in v else 1.0 for v in values]
    lowest = importances(plan("min"), values, scores)
    highest = importances(plan("max"), values, scores)
    assert lowest["method.temperature"] > highest["method.temperature"]

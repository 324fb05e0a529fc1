"""Ablation designs: the cells of each."""

from pathlib import Path

import numpy as np
import pytest

import worlds
from limbeck import training
from limbeck.designs import AblateConfig, over_tasks
from limbeck.encoding import Order
from limbeck.plan import parse_plan
from limbeck.worker import Worker
from limbeck.yaml_strict import dump_yaml

FACTORS = {"adversary": {"a": 0}, "clean": {"b": 0}, "gold": {"c": 0, "d": 1}}


def ablate(design: str, resolution: int | None = None) -> AblateConfig:
    return AblateConfig.model_validate({"design": design, "factors": FACTORS, "resolution": resolution})


def test_leave_one_out_is_the_base_and_each_factor_applied() -> None:
    cells = ablate("leave-one-out").cells()
    assert [(cell.name, cell.values, cell.applied) for cell in cells] == [
        ("reference", {}, ()),
        ("adversary", {"a": 0}, ("adversary",)),
        ("clean", {"b": 0}, ("clean",)),
        ("gold", {"c": 0, "d": 1}, ("gold",)),
    ]


def test_add_one_in_is_everything_out_and_each_component_back() -> None:
    cells = ablate("add-one-in").cells()
    assert [(cell.name, cell.values) for cell in cells] == [
        ("reference", {"a": 0, "b": 0, "c": 0, "d": 1}),
        ("adversary", {"b": 0, "c": 0, "d": 1}),
        ("clean", {"a": 0, "c": 0, "d": 1}),
        ("gold", {"a": 0, "b": 0}),
    ]
    assert cells[1].applied == ("clean", "gold")


def test_factorial_is_every_combination() -> None:
    cells = ablate("factorial").cells()
    assert [cell.name for cell in cells] == [
        "reference",
        "adversary",
        "clean",
        "adversary+clean",
        "gold",
        "adversary+gold",
        "clean+gold",
        "adversary+clean+gold",
    ]
    assert cells[-1].values == {"a": 0, "b": 0, "c": 0, "d": 1}


def test_a_fraction_of_resolution_three_halves_three_factors() -> None:
    cells = ablate("factorial", 3).cells()
    assert len(cells) == 4
    for name in FACTORS:
        assert sum(name in cell.applied for cell in cells) == 2


def test_every_task_has_every_cell() -> None:
    cells = over_tasks(ablate("leave-one-out").cells()[:2], ["movies", {"hub": "a/b", "config": "c"}, {"files": {}}])
    assert [(cell.name, cell.task) for cell in cells] == [
        ("reference@movies", "movies"),
        ("adversary@movies", "movies"),
        ("reference@a/b/c", "a/b/c"),
        ("adversary@a/b/c", "a/b/c"),
        ("reference@task 3", "task 3"),
        ("adversary@task 3", "task 3"),
    ]
    assert cells[3].values == {"task": {"hub": "a/b", "config": "c"}, "a": 0}


@pytest.mark.parametrize("design", ["add-one-in", "factorial"])
def test_factors_that_set_one_path_cannot_both_apply(design: str) -> None:
    config = AblateConfig.model_validate({"design": design, "factors": {"x": {"m.w": 1}, "y": {"m.w.z": 2}}})
    assert [fault.path for fault in config.faults()] == ["factors.y.m.w.z"]
    config = AblateConfig.model_validate({"design": "leave-one-out", "factors": {"x": {"m.w": 1}, "y": {"m.w.z": 2}}})
    assert config.faults() == []


def test_a_resolution_belongs_to_a_factorial_design() -> None:
    assert [fault.path for fault in ablate("leave-one-out", 3).faults()] == ["resolution"]


def test_a_factorial_design_says_what_it_cannot_do() -> None:
    assert [str(fault.path) for fault in ablate("factorial", 7).faults()] == ["resolution"]
    factors = {f"f{i}": {f"a{i}": 0} for i in range(9)}
    many = AblateConfig.model_validate({"design": "factorial", "factors": factors})
    assert [fault.what for fault in many.faults()] == ["a factorial design takes at most 8, got 9"]


def test_every_cell_has_the_same_seeds_and_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[list[int]]] = []

    class Noted(Order):
        def batch(self, k: int) -> np.ndarray:
            rows = super().batch(k)
            read[-1].append(rows.tolist())
            return rows

    monkeypatch.setattr(training, "Order", Noted)
    base = worlds.base_trial(tmp_path)
    base["training"] |= {"updates": 3, "evaluations": 1}
    factors = {"distillation": {"method": {"name": "finetune"}}, "plain text": {"method": {"name": "mixup"}}}
    raw = {"name": "same", "base": base, "ablate": {"design": "leave-one-out", "factors": factors}, "seeds": [0, 1]}
    plan, supplies = parse_plan(dump_yaml(raw), "same"), worlds.supplies(tmp_path)
    for cell in plan.cells():
        for seed in plan.seeds:
            read.append([])
            training.train(plan.spec(cell.values, seed), Worker(tmp_path / f"{cell.name}-{seed}"), supplies)
    assert [len(batches) for batches in read] == [3] * 6
    assert read[0] == read[2] == read[4] != read[1]
    assert read[1] == read[3] == read[5]

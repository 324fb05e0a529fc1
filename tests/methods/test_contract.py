"""Every method of the table passes the same checks."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import toys
from limbeck import checkpoint
from limbeck.methods import METHODS
from limbeck.methods.base import STUDENT, Method, Parts, Setting
from limbeck.noise import RowNoise
from limbeck.optimise import Optimiser
from limbeck.trial import TrialSpec

SETTINGS: dict[str, dict[str, Any]] = {
    "cilda": {"generator_steps": 2, "student_steps": 3, "generator": {"layers": 1, "learning_rate": 1e-3}},
    "codir": {"negatives": 5, "projection": 6, "pretraining": {"updates": 4}},
    "mate": {"generator_steps": 2, "student_steps": 3, "generator": {"layers": 1, "learning_rate": 1e-3}},
    "random_mask": {"generator": {"layers": 1}},
    "l2a": {"window": 3, "generator": {"layers": 1}},
    "pkd": {"project": True},
}
"""What a method needs to be set to for a short run to visit every phase."""
ON_REGRESSION: dict[str, dict[str, Any]] = {"codir": {"negatives_from": "random"}}
"""And what besides where there are no labels."""
SETTING = Setting(
    regression=False,
    masked_lm=True,
    sources=1,
    student_layers=2,
    student_width=8,
    teacher_layers=3,
    teacher_width=16,
)

pytestmark = pytest.mark.parametrize("name", METHODS)


def config_of(name: str, regression: bool = False) -> Any:
    return METHODS[name].Config(**SETTINGS.get(name, {}), **(ON_REGRESSION.get(name, {}) if regression else {}))


def build(name: str, parts: Parts) -> Method:
    return METHODS[name](config_of(name, parts.task.regression), parts)


class Run:
    """The loop of a trial, at toy size."""

    def __init__(self, name: str, parts: Parts) -> None:
        self.parts = parts
        self.method = build(name, parts)
        self.step = 0
        self.optimisers = {
            key: Optimiser(
                part.module.parameters(), learning_rate=part.learning_rate or 1e-3, weight_decay=0.0, clip_norm=1.0
            )
            for key, part in self.method.trainable.items()
        }

    def go(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            phase = self.method.phase(self.step)
            batch = toys.batch(seed=self.step % 4, start=8 * (self.step % 4))
            torch.manual_seed(self.step)
            self.parts.student.train()
            loss = self.method.loss(batch, phase, RowNoise(3, self.step, range(8)))
            self.optimisers[phase].step(loss.total, lambda _: None)
            losses.append(float(loss.total.detach()))
            self.step += 1
        return losses

    def tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for key, part in self.method.trainable.items():
            out |= {f"module/{key}/{k}": v.clone() for k, v in part.module.state_dict().items()}
            out |= checkpoint.flatten_optimiser(f"optimiser/{key}", self.optimisers[key].adam)
        return out

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        self.step = step
        for key, part in self.method.trainable.items():
            prefix = f"module/{key}/"
            part.module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
            checkpoint.restore_optimiser(f"optimiser/{key}", self.optimisers[key].adam, tensors)


STEPS = 12


def named(method: Method) -> dict[str, nn.Parameter]:
    """Every parameter of every phase."""
    parts = method.trainable.items()
    return {f"{phase}/{key}": p for phase, part in parts for key, p in part.module.named_parameters()}


def weights(method: Method) -> dict[str, Tensor]:
    return {key: parameter.detach().clone() for key, parameter in named(method).items()}


def test_config_round_trip(name: str) -> None:
    config = config_of(name)
    assert config.name == name
    spec = TrialSpec.model_validate({"task": "movies", "method": {"name": name, **SETTINGS.get(name, {})}})
    again = TrialSpec.model_validate(spec.model_dump(mode="json"))
    assert again == spec
    assert again.id == spec.id
    assert again.method == config


def test_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="mask_ratte"):
        METHODS[name].Config(mask_ratte=0.3)


def test_teacher_is_unchanged_bit_for_bit(name: str) -> None:
    parts = toys.parts(dropout=0.1)
    before = copy.deepcopy(dict(parts.teacher.state_dict()))
    Run(name, parts).go(STEPS)
    after = parts.teacher.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not parts.teacher.training


def test_every_phase_comes_and_moves_its_own_module_alone(name: str) -> None:
    run = Run(name, toys.parts())
    seen = set()
    for _ in range(STEPS):
        before = weights(run.method)
        phase = run.method.phase(run.step)
        seen.add(phase)
        run.go(1)
        after = weights(run.method)
        moved = {key for key in before if not torch.equal(before[key], after[key])}
        # A network that two phases teach is there under the name of each.
        mine = {id(p) for p in run.method.trainable[phase].module.parameters()}
        others = {key for key, parameter in named(run.method).items() if id(parameter) not in mine}
        assert not moved & others, f"step {run.step - 1} is {phase}'s and moved {moved & others}"
        assert moved
    assert seen == set(run.method.trainable)


def test_every_updated_parameter_gets_a_gradient(name: str) -> None:
    run = Run(name, toys.parts())
    missing: dict[str, set[str]] = {}
    for step in range(STEPS):
        phase = run.method.phase(step)
        module = run.method.trainable[phase].module
        names = dict(module.named_parameters())
        loss = run.method.loss(toys.batch(seed=step), phase, RowNoise(3, step, range(8)))
        grads = torch.autograd.grad(loss.total, list(names.values()), allow_unused=True)
        none = {key for key, grad in zip(names, grads, strict=True) if grad is None or not grad.abs().sum() > 0}
        missing[phase] = missing.get(phase, none) & none
    # A key bias shifts all of a query's attention scores alike, so its gradient is zero by construction.
    left = {phase: {k for k in keys if not k.endswith("key.bias")} for phase, keys in missing.items()}
    assert not any(left.values()), left


def test_same_seed_same_losses(name: str) -> None:
    assert Run(name, toys.parts(dropout=0.1)).go(STEPS) == Run(name, toys.parts(dropout=0.1)).go(STEPS)


def test_stop_and_resume_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    whole = Run(name, toys.parts(dropout=0.1))
    losses = whole.go(STEPS)
    first = Run(name, toys.parts(dropout=0.1))
    first.go(5)
    checkpoint.save(tmp_path, 5, first.tensors(), {})
    second = Run(name, toys.parts(dropout=0.1))
    found = checkpoint.newest(tmp_path)
    assert found is not None
    second.restore(found[0], 5)
    assert second.go(STEPS - 5) == losses[5:]
    ours, theirs = second.tensors(), whole.tensors()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_losses_are_finite_scalars_and_parts_are_detached(name: str) -> None:
    method = build(name, toys.parts())
    for step in range(STEPS):
        loss = method.loss(toys.batch(seed=step), method.phase(step), RowNoise(3, step, range(8)))
        assert loss.total.shape == ()
        assert torch.isfinite(loss.total)
        assert loss.parts
        assert all(not part.requires_grad and part.shape == () for part in loss.parts.values())


def test_invention_spares_specials_and_pads(name: str) -> None:
    method = build(name, toys.parts())
    for seed in range(20):
        batch = toys.batch(seed=seed)
        invented = method.invent(batch, RowNoise(seed, 0, range(8)))
        if invented is None:
            return
        assert not (invented.changed & ~batch.maskable).any()
        assert torch.equal(invented.input_ids[~batch.maskable], batch.input_ids[~batch.maskable])
        assert invented.teacher_logits.shape == batch.teacher_logits.shape
        assert not invented.student_logits.requires_grad


def test_what_runs_here_is_not_refused(name: str) -> None:
    assert not METHODS[name].refuses(config_of(name), SETTING)
    assert not METHODS[name].refuses(config_of(name, regression=True), replace(SETTING, regression=True))


def test_a_vocabulary_without_a_mask_token_is_refused_by_whoever_masks(name: str) -> None:
    found = METHODS[name].refuses(config_of(name), replace(SETTING, masked_lm=False))
    parts = toys.parts()
    parts = replace(parts, vocabulary=replace(parts.vocabulary, mask=None))
    if not found:
        build(name, parts)
        return
    assert [problem.where for problem in found] == ["teacher"]
    assert "mask token" in found[0].what
    with pytest.raises(ValueError, match="mask token"):
        build(name, parts)


def test_regression_runs(name: str) -> None:
    parts = toys.parts(classes=0)
    method = build(name, parts)
    for step in range(STEPS):
        loss = method.loss(toys.batch(classes=0, seed=step), method.phase(step), RowNoise(3, step, range(8)))
        assert torch.isfinite(loss.total)


def test_student_phase_updates_the_student(name: str) -> None:
    method = build(name, parts := toys.parts())
    assert STUDENT in method.trainable
    ours = {id(p) for p in method.trainable[STUDENT].module.parameters()}
    assert {id(p) for p in parts.student.parameters()} <= ours

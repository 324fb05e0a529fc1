"""FreeLB: the passes worked in NumPy on a linear student, and their limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.freelb import Freelb, FreelbConfig
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.perturbation import Norm, example_size
from limbeck.noise import RowNoise
from methods import linear


def noise() -> RowNoise:
    return RowNoise(3, 0, range(8))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 3, "step_size": 0.5, "radius": 0.7, "temperature": 1.5, "distillation": 0.8},
        {"steps": 3, "step_size": 0.4, "radius": 0.5, "norm": "linf"},
    ],
)
def test_passes_and_loss_by_numpy(settings: dict[str, object]) -> None:
    config = FreelbConfig.model_validate({"initial_size": 0.0, **settings})
    parts, batch = linear.parts(), toys.batch()
    student, a, tau = linear.Numbers(parts.student), config.distillation, config.temperature
    mask, labels = batch.attention_mask.numpy(), np.eye(3)[batch.labels]
    clean, q = student.embeds(batch.input_ids), linear.softmax(batch.teacher_logits.double().numpy() / tau)
    delta, losses = np.zeros_like(clean), []
    for _ in range(config.steps):
        z = student.logits(clean + delta, mask)
        losses.append(linear.kd(batch, z, a, tau))
        towards = (1 - a) * (linear.softmax(z) - labels) + a * tau * (linear.softmax(z / tau) - q)
        gradient = student.slope(towards, mask, batch.maskable)
        flat = gradient.reshape(8, -1)
        delta = delta + config.step_size * gradient / np.linalg.norm(
            flat, 2 if config.norm == "l2" else np.inf, 1
        ).reshape(8, 1, 1)
        if config.norm == "linf":
            delta = delta.clip(-config.radius, config.radius)
        else:
            delta *= np.minimum(1, config.radius / np.linalg.norm(delta.reshape(8, -1), axis=1)).reshape(8, 1, 1)
    loss = Freelb(config, parts).loss(batch, STUDENT, noise())
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert loss.parts["first_pass"].item() == pytest.approx(losses[0], rel=1e-5)
    assert loss.parts["last_pass"].item() == pytest.approx(losses[-1], rel=1e-5)
    assert losses == sorted(losses), "the loss should rise from pass to pass"


def test_one_pass_from_zero_is_kd() -> None:
    parts, batch = toys.parts(), toys.batch()
    config = FreelbConfig(steps=1, initial_size=0, temperature=3.0, distillation=0.7)
    ours = Freelb(config, parts).loss(batch, STUDENT, noise()).total
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert ours.item() == pytest.approx(kd.item(), rel=1e-6)


def test_the_gradient_is_the_mean_of_the_passes() -> None:
    """Every pass teaches, at its own point, which is a constant of the loss: against finite differences of the mean."""
    parts, batch = linear.parts(), toys.batch()
    config = FreelbConfig(steps=2, initial_size=0, step_size=0.8, radius=0.0)
    method = Freelb(config, parts)
    (ours,) = torch.autograd.grad(method.loss(batch, STUDENT, noise()).total, parts.student.matrix)
    student, mask = linear.Numbers(parts.student), batch.attention_mask.numpy()
    clean = student.embeds(batch.input_ids)
    shift = method._climb(batch, noise())[2].double().numpy()

    def mean_loss(matrix: np.ndarray) -> float:
        student.matrix = matrix
        return float(np.mean([linear.kd(batch, student.logits(clean + d, mask), 0.5, 2.0) for d in (0, shift)]))

    start = student.matrix.copy()
    for i, j in ((0, 0), (3, 2), (4, 1)):
        step = np.zeros_like(start)
        step[i, j] = 1e-5
        slope = (mean_loss(start + step) - mean_loss(start - step)) / 2e-5
        assert ours[i, j].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_in_the_ball_and_zero_on_pads_and_specials(norm: Norm) -> None:
    batch = toys.batch()
    for steps in (1, 2, 5):
        config = FreelbConfig(steps=steps, norm=norm, radius=0.2, step_size=0.15, initial_size=1.0)
        delta = Freelb(config, toys.parts())._climb(batch, noise())[2]
        assert (example_size(delta, norm) <= 0.2 * (1 + 1e-6)).all()
        assert not delta[~batch.maskable].any()
        assert delta.any()


def test_the_teacher_is_never_asked() -> None:
    teacher = linear.Linear(3, 1)
    method = Freelb(FreelbConfig(), replace(linear.parts(), teacher=teacher))
    method.loss(toys.batch(), STUDENT, noise())
    method.invent(toys.batch(), noise())
    assert teacher.calls == 0

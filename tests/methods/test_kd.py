"""Kd: its loss by NumPy, and its limits."""

import pytest
import torch

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.finetune import Finetune, FinetuneConfig
from limbeck.methods.kd import Kd, KdConfig
from limbeck.noise import RowNoise
from methods import linear


def noise() -> RowNoise:
    return RowNoise(3, 0, range(8))


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_loss_by_numpy(share: float, tau: float) -> None:
    parts, batch = linear.parts(), toys.batch()
    logits = linear.Numbers(parts.student).of(batch.input_ids, batch.attention_mask)
    loss = Kd(KdConfig(temperature=tau, weight=share), parts).loss(batch, STUDENT, noise())
    assert loss.total.item() == pytest.approx(linear.kd(batch, logits, share, tau), rel=1e-5)
    soft = linear.kl(batch.teacher_logits.numpy(), logits, tau).mean()
    assert loss.parts["distillation"].item() == pytest.approx(soft, rel=1e-4)
    assert loss.parts["cross_entropy"].item() == pytest.approx(
        linear.cross_entropy(logits, batch.labels).mean(), rel=1e-5
    )


def test_weight_zero_is_finetune() -> None:
    parts, batch = toys.parts(), toys.batch()
    plain = Finetune(FinetuneConfig(), parts).loss(batch, STUDENT, noise()).total
    assert Kd(KdConfig(weight=0), parts).loss(batch, STUDENT, noise()).total.item() == plain.item()


def test_a_student_that_agrees_has_nothing_to_distil() -> None:
    parts, batch = toys.parts(), toys.batch()
    with torch.no_grad():
        own = parts.student(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    loss = Kd(KdConfig(weight=1), parts).loss(toys.with_teacher(batch, own), STUDENT, noise())
    assert loss.total.item() == pytest.approx(0, abs=1e-6)


def test_regression_distils_the_squared_difference() -> None:
    parts, batch = linear.parts(0), toys.batch(classes=0)
    says = linear.Numbers(parts.student).of(batch.input_ids, batch.attention_mask)[:, 0]
    expected = 0.4 * ((says - batch.labels.numpy()) ** 2).mean()
    expected += 0.6 * ((says - batch.teacher_logits[:, 0].numpy()) ** 2).mean()
    loss = Kd(KdConfig(weight=0.6, temperature=7.0), parts).loss(batch, STUDENT, noise())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)

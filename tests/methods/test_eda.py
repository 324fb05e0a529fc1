"""Eda: its loss by NumPy, and its limits."""

from dataclasses import replace

import pytest
import torch

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.eda import Eda, EdaConfig
from limbeck.methods.edits import edit
from limbeck.methods.kd import Kd, KdConfig
from limbeck.noise import RowNoise
from methods import linear


def noise(step: int = 0) -> RowNoise:
    return RowNoise(3, step, range(8))


def test_loss_by_numpy() -> None:
    config = EdaConfig(edit_share=0.3, weight=0.6, distillation=0.2, temperature=1.4)
    parts, batch = linear.parts(), toys.batch()
    edited = edit(batch, 0.3, toys.VOCABULARY, noise(), parts.max_tokens)
    student, teacher = (linear.Numbers(network) for network in (parts.student, parts.teacher))
    clean = student.of(batch.input_ids, batch.attention_mask)
    says, asked = (network.of(edited.input_ids, edited.attention_mask) for network in (student, teacher))
    term = linear.kl(asked, says, 1.4).mean()
    loss = Eda(config, parts).loss(batch, STUDENT, noise())
    assert loss.parts["augmented"].item() == pytest.approx(term, rel=1e-5)
    assert loss.total.item() == pytest.approx(linear.kd(batch, clean, 0.2, 1.4) + 0.6 * term, rel=1e-5)


def test_weight_zero_is_kd() -> None:
    parts, batch = toys.parts(), toys.batch()
    ours = Eda(EdaConfig(weight=0, temperature=3.0, distillation=0.7), parts).loss(batch, STUDENT, noise()).total
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert ours.item() == kd.item()


def test_networks_that_agree_agree_on_edits() -> None:
    parts = linear.parts()
    same = Eda(EdaConfig(), replace(parts, teacher=parts.student))
    assert same.loss(toys.batch(), STUDENT, noise()).parts["augmented"].item() == pytest.approx(0, abs=1e-6)


def test_edits_are_new_at_each_step_and_labelled_once_each() -> None:
    parts = linear.parts()
    method = Eda(EdaConfig(), parts)
    terms = [method.loss(toys.batch(), STUDENT, noise(step)).parts["augmented"].item() for step in range(4)]
    assert len(set(terms)) == 4
    assert parts.teacher.calls == 4


def test_the_teacher_learns_nothing() -> None:
    parts = linear.parts()
    total = Eda(EdaConfig(), parts).loss(toys.batch(), STUDENT, noise()).total
    assert torch.autograd.grad(total, list(parts.teacher.parameters()), allow_unused=True) == (None, None)

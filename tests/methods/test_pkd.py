"""Patient knowledge distillation against numbers worked by hand and in float64 NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.pkd import Pkd, PkdConfig, patience_loss, patient_layers
from limbeck.noise import RowNoise
from methods.test_contract import SETTING

NOISE = RowNoise(0, 0, range(8))


def test_patience_by_hand() -> None:
    # (3, 4) has the direction (0.6, 0.8), (0, 5) has (0, 1): the mean of 0.6² and 0.2² is 0.2.
    student, teacher = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 5.0]]])
    assert patience_loss(student, teacher).item() == pytest.approx(0.2, rel=1e-6)
    assert patience_loss(7 * student, teacher).item() == pytest.approx(0.2, rel=1e-6)
    assert patience_loss(student, student).item() == pytest.approx(0.0, abs=1e-12)


def test_gradients_of_patience() -> None:
    draw = torch.Generator().manual_seed(0)
    states = [torch.randn(2, 3, 4, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(2)]
    assert gradcheck(patience_loss, states)


@pytest.mark.parametrize(
    ("student", "teacher", "skip", "last"),
    [
        (6, 12, (2, 4, 6, 8, 10), (7, 8, 9, 10, 11)),
        (3, 12, (4, 8), (10, 11)),
        (3, 6, (2, 4), (4, 5)),
        (2, 2, (1,), (1,)),
    ],
)
def test_the_published_layers(student: int, teacher: int, skip: tuple[int, ...], last: tuple[int, ...]) -> None:
    ours = tuple(range(1, student))
    assert patient_layers("skip", student, teacher) == (ours, skip)
    assert patient_layers("last", student, teacher) == (ours, last)


@pytest.mark.parametrize("project", [False, True])
def test_loss_in_numpy(project: bool) -> None:
    """3 student layers under 3 of the teacher's: layers 1 and 2 are compared, the last is not."""
    parts = toys.parts(student_hidden=16)
    parts = replace(parts, student=toys.classifier(3, 16, seed=2))
    config = PkdConfig(temperature=2.0, distillation=0.3, patience=40.0, project=project)
    method, batch = Pkd(config, parts), toys.batch()
    loss = method.loss(batch, STUDENT, NOISE)

    with torch.no_grad():
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        out = parts.student.model(**inputs, output_hidden_states=True)
        teacher = parts.teacher.model(**inputs, output_hidden_states=True)
    states = [[o.hidden_states[k][:, 0].double().numpy() for k in (1, 2)] for o in (out, teacher)]
    if project:
        maps = {k: v.double().numpy() for k, v in method.trainable[STUDENT].module.state_dict().items()}
        states[0] = [h @ maps[f"1.{i}.weight"].T for i, h in enumerate(states[0])]
    pairs = [
        (s / np.linalg.norm(s, axis=1, keepdims=True), t / np.linalg.norm(t, axis=1, keepdims=True))
        for s, t in zip(*states, strict=True)
    ]
    patience = np.mean([(s - t) ** 2 for s, t in pairs])
    z, labels = out.logits.double().numpy(), batch.labels.numpy()
    gold = -np.mean(log_softmax(z)[np.arange(8), labels])
    p = log_softmax(batch.teacher_logits.double().numpy() / 2)
    soft = 4 * np.mean((np.exp(p) * (p - log_softmax(z / 2))).sum(1))

    assert loss.parts["patience"].item() == pytest.approx(patience, rel=1e-5)
    assert loss.total.item() == pytest.approx(0.7 * gold + 0.3 * soft + 40 * patience, rel=1e-5)


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def test_without_patience_it_is_kd() -> None:
    ours = Pkd(PkdConfig(temperature=3.0, distillation=0.4, patience=0.0, project=True), toys.parts())
    theirs = Kd(KdConfig(temperature=3.0, weight=0.4), toys.parts())
    batch = toys.batch()
    assert ours.loss(batch, STUDENT, NOISE).total.item() == theirs.loss(batch, STUDENT, NOISE).total.item()


def test_the_last_layer_is_left_to_the_soft_labels() -> None:
    parts = toys.parts(student_hidden=16)
    method = Pkd(PkdConfig(distillation=0.0, patience=1e6), parts)
    batch = toys.batch()
    layers = parts.student.model.bert.encoder.layer
    with_patience, without = (
        torch.autograd.grad(m.loss(batch, STUDENT, NOISE).total, [layer.output.dense.weight for layer in layers])
        for m in (method, Pkd(PkdConfig(distillation=0.0, patience=0.0), parts))
    )
    torch.testing.assert_close(with_patience[1], without[1])
    assert with_patience[0].norm() > 10 * without[0].norm()


def test_what_it_refuses() -> None:
    (width,) = Pkd.refuses(PkdConfig(), SETTING)
    assert width.where == "method.project"
    assert "8 wide" in width.what
    assert "16" in width.what
    same = replace(SETTING, student_width=16)
    assert not Pkd.refuses(PkdConfig(), same)
    for depth in (1, 4):
        (problem,) = Pkd.refuses(PkdConfig(), replace(same, student_layers=depth))
        assert problem.where == "student.layers"
        assert "from 2 to 3" in problem.what
    with pytest.raises(ValueError, match=r"method\.project"):
        Pkd(PkdConfig(), toys.parts())

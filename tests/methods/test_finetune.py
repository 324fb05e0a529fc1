"""Fine-tuning: its loss by NumPy."""

from dataclasses import replace

import pytest

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.finetune import Finetune, FinetuneConfig
from limbeck.noise import RowNoise
from methods import linear


@pytest.mark.parametrize("classes", [3, 0])
def test_loss_by_numpy_and_the_teacher_is_never_asked(classes: int) -> None:
    parts, batch = linear.parts(classes), toys.batch(classes=classes)
    says = linear.Numbers(parts.student).of(batch.input_ids, batch.attention_mask)
    squares = (says[:, 0] - batch.labels.numpy()) ** 2
    expected = linear.cross_entropy(says, batch.labels).mean() if classes else squares.mean()
    method = Finetune(FinetuneConfig(), parts)
    for logits in (batch.teacher_logits, 100 - batch.teacher_logits):
        loss = method.loss(replace(batch, teacher_logits=logits), STUDENT, RowNoise(3, 0, range(8)))
        assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert parts.teacher.calls == 0
    assert method.invent(batch, RowNoise(3, 0, range(8))) is None

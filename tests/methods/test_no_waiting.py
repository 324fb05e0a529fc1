"""Within a step nobody asks a GPU anything: it would be waited for, and meanwhile it would have nothing to do.

Tensors of the `meta` device hold no numbers: asking them for one raises, and so does whatever has to know how many
there are. What an accelerator lacks there stays out: generators' noise, and casting to its own precision (cilda).
"""

from dataclasses import replace

import pytest
import torch

import toys
from limbeck.encoding import Batch, to_device
from limbeck.methods import METHODS
from limbeck.methods.base import STUDENT
from limbeck.noise import RowNoise

DEVICE = torch.device("meta")
SILENT = ("ad2", "eda", "finetune", "freelb", "glitter", "kd", "mate", "mixup", "pkd", "random_mask")
"""Not l2a, which picks candidates by what networks say, nor codir, which sorts its rows by label before it starts."""


def on_device(batch: Batch) -> Batch:
    return to_device(batch, DEVICE)


@pytest.mark.parametrize("name", SILENT)
def test_a_students_step_asks_nothing(name: str) -> None:
    here = toys.parts(student_hidden=16)
    parts = replace(
        here,
        student=here.student.to(DEVICE),
        teacher=here.teacher.to(DEVICE),
        new_generator=lambda config: here.new_generator(config).to(DEVICE),
        task=replace(here.task, labels=here.task.labels.to(DEVICE)),
    )
    method = METHODS[name](METHODS[name].Config(), parts)
    for step in range(2):
        loss = method.loss(on_device(toys.batch(seed=step)), STUDENT, RowNoise(3, step, range(8)))
        weights = [p for p in method.trainable[STUDENT].module.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss.total, weights, allow_unused=True)
        assert {g.device for g in (loss.total, *found) if g is not None} == {DEVICE}


def test_asking_raises() -> None:
    with pytest.raises(RuntimeError, match="meta"):
        on_device(toys.batch()).input_ids.sum().item()
    with pytest.raises(NotImplementedError, match="meta"):
        on_device(toys.batch()).maskable.nonzero()

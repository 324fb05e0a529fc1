"""Glitter: which edits it takes, by NumPy; that the teacher labels each edit once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.edits import Edited
from limbeck.methods.glitter import Glitter, GlitterConfig, pick
from limbeck.methods.kd import Kd, KdConfig
from limbeck.noise import RowNoise
from methods import linear


def noise(step: int = 0) -> RowNoise:
    return RowNoise(3, step, range(8))


@pytest.mark.parametrize("classes", [3, 0])
@pytest.mark.parametrize("chosen", [1, 2, 5])
def test_choice_and_loss_by_numpy(chosen: int, classes: int) -> None:
    config = GlitterConfig(candidates=5, chosen=chosen, edit_share=0.3, weight=0.6, distillation=0.2, temperature=2.5)
    parts, batch = linear.parts(classes), toys.batch(classes=classes)
    method = Glitter(config, parts)
    student, teacher = (linear.Numbers(network) for network in (parts.student, parts.teacher))
    pool = method._candidates(batch)
    says, asked = (np.stack([n.of(e.input_ids, e.attention_mask) for e in pool], 1) for n in (student, teacher))
    gaps = linear.kl(asked, says, 2.5) if classes else ((asked - says) ** 2)[..., 0]
    order = np.argsort(-gaps, 1)[:, :chosen]
    assert method._choose(batch, store=False)[2].tolist() == order.tolist()
    term = np.take_along_axis(gaps, order, 1).mean()
    loss = method.loss(batch, STUDENT, noise())
    assert loss.parts["selected"].item() == pytest.approx(term, rel=1e-4)
    if classes:
        clean = student.of(batch.input_ids, batch.attention_mask)
        assert loss.total.item() == pytest.approx(linear.kd(batch, clean, 0.2, 2.5) + 0.6 * term, rel=1e-4)


def test_the_teacher_labels_a_row_once() -> None:
    parts, config = linear.parts(), GlitterConfig(candidates=3)
    method = Glitter(config, parts)
    first, second = toys.batch(seed=0), toys.batch(seed=1, start=8)
    before = method.loss(first, STUDENT, noise()).total.item()
    assert parts.teacher.calls == 3
    assert method.loss(first, STUDENT, noise(1)).total.item() == before, "the pool does not change"
    assert parts.teacher.calls == 3
    method.loss(second, STUDENT, noise())
    assert parts.teacher.calls == 6
    for batch in (first, second):
        method.loss(batch, STUDENT, noise(2))
    assert parts.teacher.calls == 6


def test_a_resumed_trial_does_not_ask_again() -> None:
    parts, again = linear.parts(), linear.parts()
    first, second = Glitter(GlitterConfig(), parts), Glitter(GlitterConfig(), again)
    before = first.loss(toys.batch(), STUDENT, noise()).total.item()
    second.trainable[STUDENT].module.load_state_dict(first.trainable[STUDENT].module.state_dict())
    assert second.loss(toys.batch(), STUDENT, noise()).total.item() == before
    assert again.teacher.calls == 0


def test_answers_belong_to_rows_wherever_they_stand() -> None:
    """A row in another place of another batch, padded wider, meets its own edits and answers again."""
    parts = linear.parts()
    method = Glitter(GlitterConfig(), parts)
    batch = toys.batch()
    method.loss(batch, STUDENT, noise())
    turned = replace(
        batch,
        **{
            name: toys.pad_to(getattr(batch, name).flip(0), 15, 0)
            for name in ("input_ids", "attention_mask", "token_type_ids", "maskable")
        },
        **{name: getattr(batch, name).flip(0) for name in ("labels", "rows", "teacher_logits")},
    )
    stored = method._choose(turned, store=True)[1]
    fresh = method._choose(turned, store=False)[1]
    assert parts.teacher.calls == 8
    torch.testing.assert_close(stored, fresh)


def test_dropout_stays_out_of_the_choice() -> None:
    parts, batch = toys.parts(dropout=0.5), toys.batch()
    parts.student.train()
    method = Glitter(GlitterConfig(), parts)
    first, second = (method._choose(batch, store=True)[2] for _ in range(2))
    assert torch.equal(first, second)
    assert parts.student.training


def test_weight_zero_is_kd() -> None:
    parts, batch = toys.parts(), toys.batch()
    config = GlitterConfig(weight=0, temperature=3.0, distillation=0.7)
    ours = Glitter(config, parts).loss(batch, STUDENT, noise()).total
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert ours.item() == kd.item()


def test_networks_that_agree_agree_on_every_edit() -> None:
    parts = linear.parts()
    same = Glitter(GlitterConfig(), replace(parts, teacher=parts.student))
    assert same.loss(toys.batch(), STUDENT, noise()).parts["selected"].item() == pytest.approx(0, abs=1e-6)


def test_picking_by_hand() -> None:
    """Two candidates of different width for two rows; each row takes one of its own."""

    def made(*rows: list[int]) -> Edited:
        ids = torch.tensor(rows)
        return Edited(ids, (ids > 0).long(), (ids > 5).long())

    narrow, wide = made([4, 5], [6, 7]), made([8, 9, 10], [11, 12, 0])
    out = pick([narrow, wide], torch.tensor([1, 0]))
    assert out.input_ids.tolist() == [[8, 9, 10], [6, 7, 0]]
    assert out.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert out.token_type_ids is not None
    assert out.token_type_ids.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_more_chosen_than_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match=r"chosen \(5\) is more than candidates \(4\)"):
        GlitterConfig(chosen=5)

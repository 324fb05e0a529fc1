"""MATE-KD: numbers worked by hand, and equality with the published form."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import toys
from limbeck.errors import UserError
from limbeck.methods.base import STUDENT
from limbeck.methods.cilda import Cilda, CildaConfig
from limbeck.methods.losses import divergence, supervised
from limbeck.methods.masking import mask_tokens, sample, score_hidden, straight_through
from limbeck.methods.mate import GENERATOR, Mate, MateConfig
from limbeck.noise import RowNoise
from limbeck.tasks import UNLABELLED
from methods import plain_mate

# p_T = (1/2, 1/2), p_S = (3/4, 1/4): KL = ½ ln(2/3) + ½ ln 2 = ½ ln(4/3)
TEACHER = torch.tensor([[0.0, 0.0]])
STUDENT_LOGITS = torch.tensor([[math.log(3.0), 0.0]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("kl", 0.5 * math.log(4 / 3)),
        ("ce", 0.5 * math.log(4 / 3) + math.log(2)),
        ("mse", math.log(3) ** 2 / 2),
    ],
)
def test_divergence_by_hand(kind: str, expected: float) -> None:
    assert divergence(TEACHER, STUDENT_LOGITS, kind, 1.0, False).item() == pytest.approx(expected, rel=1e-6)


def test_divergence_with_temperature_by_hand() -> None:
    # At τ = 2 the student's odds are √3, so KL = ½ ln((1+√3)²/(4√3)), times τ² = 4.
    expected = 4 * 0.5 * math.log((1 + math.sqrt(3)) ** 2 / (4 * math.sqrt(3)))
    assert divergence(TEACHER, STUDENT_LOGITS, "kl", 2.0, False).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "config"), [(Mate, MateConfig), (Cilda, CildaConfig)])
@pytest.mark.parametrize("role", ["student", "method.generator"])
def test_an_adversary_learns_through_tables_of_one_size_only(kind: Any, config: Any, role: str) -> None:
    parts = toys.parts()
    padded: Any = parts.student if role == "student" else toys.generator()
    padded.model.resize_token_embeddings(48, mean_resizing=False)
    if role != "student":
        parts = replace(parts, new_generator=lambda _: padded)
    with pytest.raises(UserError, match=f"{role}: its embedding table has 48 rows, but that of the teacher has 40"):
        kind(config(), parts)
    kind(config(generator={"frozen": True}), parts)


def test_identical_logits_do_not_diverge() -> None:
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert divergence(z, z, "kl", 3.0, False).item() == pytest.approx(0.0, abs=1e-6)
    assert divergence(z, z, "mse", 1.0, False).item() == 0.0


def test_supervised_by_hand() -> None:
    assert supervised(STUDENT_LOGITS, torch.tensor([1])).item() == pytest.approx(math.log(4), rel=1e-6)
    assert supervised(torch.tensor([[2.0], [0.0]]), torch.tensor([0.0, 1.0])).item() == pytest.approx(2.5)


def test_rows_without_a_label_count_as_rows_and_add_nothing() -> None:
    two = torch.cat([STUDENT_LOGITS, STUDENT_LOGITS]).requires_grad_()
    loss = supervised(two, torch.tensor([1, UNLABELLED]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4) / 2, rel=1e-6)
    assert two.grad is not None
    assert two.grad[1].abs().max() == 0
    numbers = torch.tensor([[2.0], [7.0]], requires_grad=True)
    supervised(numbers, torch.tensor([0.0, math.nan])).backward()
    assert numbers.grad is not None
    assert numbers.grad.squeeze(1).tolist() == [2.0, 0.0]


def test_straight_through_looks_up_and_differentiates_the_softmax() -> None:
    """Against y @ W with the Jacobian of the softmax worked out in float64 NumPy."""
    rng = np.random.default_rng(0)
    scores, gumbel, table, towards = (rng.normal(size=s) for s in ((3, 5), (3, 5), (5, 2), (3, 2)))
    tau = 0.7
    noisy = (scores + gumbel) / tau
    soft = np.exp(noisy - noisy.max(1, keepdims=True))
    soft /= soft.sum(1, keepdims=True)
    expected = np.stack([(np.diag(p) - np.outer(p, p)) / tau @ (table @ g) for p, g in zip(soft, towards, strict=True)])
    leaf = torch.tensor(scores, requires_grad=True)
    tokens, (embeds,) = straight_through(leaf, torch.tensor(gumbel), tau, [torch.tensor(table)])
    assert tokens.tolist() == (scores + gumbel).argmax(1).tolist()
    np.testing.assert_array_equal(embeds.detach().numpy(), table[(scores + gumbel).argmax(1)])
    embeds.backward(torch.tensor(towards))
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", ["kl", "ce", "mse"])
def test_gradients_of_the_divergence(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    z = [torch.randn(2, 3, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert gradcheck(lambda t, s: divergence(t, s, kind, 1.5, False), z)


def test_sampling_follows_the_softmax() -> None:
    scores = torch.tensor([0.0, math.log(2), math.log(5)]).repeat(8000, 1)
    tokens = sample(scores, RowNoise(0, 0, [0]).uniform_each([8000]))
    shares = torch.bincount(tokens, minlength=3) / 8000
    # Standard error of a share is at most 0.0056.
    assert torch.allclose(shares, torch.tensor([0.125, 0.25, 0.625]), atol=0.02)


def test_masking_rate_and_places() -> None:
    hits = total = 0
    for step in range(200):
        batch = toys.batch(seed=step)
        masked = mask_tokens(batch, 0.3, toys.MASK, RowNoise(1, step, range(8)))
        assert not (masked.hidden & ~batch.maskable).any()
        assert (masked.input_ids[masked.hidden] == toys.MASK).all()
        hits, total = hits + int(masked.hidden.sum()), total + int(batch.maskable.sum())
    assert hits / total == pytest.approx(0.3, abs=0.015)


def test_masks_are_drawn_anew_each_step() -> None:
    batch = toys.batch()
    first, second = (mask_tokens(batch, 0.3, toys.MASK, RowNoise(1, step, range(8))).hidden for step in (0, 1))
    assert not torch.equal(first, second)


def test_schedule_is_the_published_cycle() -> None:
    method = Mate(MateConfig(), toys.parts())
    phases = [method.phase(step) for step in range(220)]
    assert phases == 2 * ([GENERATOR] * 10 + [STUDENT] * 100)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("phase", [STUDENT, GENERATOR])
def test_equals_the_published_form(phase: str, seed: int) -> None:
    """Loss and gradients to 1e-5 against full-vocabulary products at 128 padded positions, under the same noise."""
    parts = toys.parts()
    method = Mate(MateConfig(mask_rate=0.4), parts)
    batch = toys.batch(seed=seed)
    with torch.no_grad():
        teacher_logits = parts.teacher(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    batch = toys.with_teacher(batch, teacher_logits)

    loss = method.loss(batch, phase, RowNoise(5, 0, range(8))).total
    module = method.trainable[phase].module
    grads = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)

    masked = mask_tokens(batch, 0.4, toys.MASK, noise := RowNoise(5, 0, range(8)))
    wide = 128
    gumbel = torch.randn(8, wide, toys.WORDS)
    places = toys.pad_to(masked.hidden, wide, False)
    if phase == STUDENT:
        # Noise under which the Gumbel-max draw of the published form is the token that was drawn here.
        with torch.no_grad():
            tokens = sample(score_hidden(method._generator, masked, batch), noise.uniform_each(masked.counts))
        gumbel[places] = 1e4 * torch.nn.functional.one_hot(tokens, toys.WORDS).float()
    else:
        gumbel[places] = noise.gumbel(masked.counts, toys.WORDS)
    plain = plain_mate.Plain(parts.teacher.model, parts.student.model, method._generator.model)
    common = (
        plain,
        toys.pad_to(batch.input_ids, wide, toys.PAD),
        places,
        toys.pad_to(batch.attention_mask, wide, 0),
        gumbel,
        toys.MASK,
    )
    if phase == STUDENT:
        expected = plain_mate.student_loss(*common, batch.labels)
    else:
        expected = -plain_mate.adversarial_divergence(*common)
    plain_grads = torch.autograd.grad(expected, list(module.parameters()), allow_unused=True)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for ours, theirs in zip(grads, plain_grads, strict=True):
        if theirs is not None and ours is not None:
            if ours.shape == parts.student.embedding.weight.shape and phase == STUDENT:
                # A looked-up [PAD] is never trained (`padding_idx`); as a product it would be.
                theirs[toys.PAD] = 0
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_no_masked_position_at_all_is_harmless() -> None:
    method = Mate(MateConfig(mask_rate=1e-9), toys.parts())
    for phase in (STUDENT, GENERATOR):
        assert torch.isfinite(method.loss(toys.batch(), phase, RowNoise(0, 0, range(8))).total)

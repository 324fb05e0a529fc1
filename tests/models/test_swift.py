"""Dropout and attention of our own against the library's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.models import Generator
from limbeck.models.swift import Dropout, attend, dropped
from models import toys


def test_dropout_keeps_the_mean_and_follows_the_seed() -> None:
    x = torch.ones(200, 300)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, second = dropped(x, 0.1), dropped(x, 0.1)
        torch.manual_seed(1)
        again = dropped(x, 0.1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert first.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
    # Standard error of the share of zeros: 0.0012.
    assert (first == 0).float().mean().item() == pytest.approx(0.1, abs=0.006)
    assert torch.equal(dropped(x, 0.0), x)


def test_dropout_rows_and_columns_are_independent() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        zeros = (dropped(torch.ones(400, 400), 0.5) == 0).float() - 0.5
    for other in (zeros.roll(1, 0), zeros.roll(1, 1), zeros.roll(4, 1)):
        # Of 160,000 products of ±1/4: standard error 0.0006.
        assert abs((zeros * other).mean().item()) < 0.003


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_dropout_passes_gradients_where_it_kept(kind: torch.dtype) -> None:
    x = torch.ones(50, 3, dtype=kind, requires_grad=True)
    out = dropped(x, 0.3)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert out.dtype == grad.dtype == kind
    assert torch.equal(out.detach(), grad)


def test_a_model_s_dropouts_are_replaced_and_keep_their_rates() -> None:
    classifier = toys.classifier("bert", hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)
    rates = [module.p for module in classifier.modules() if isinstance(module, Dropout)]
    assert not [module for module in classifier.modules() if isinstance(module, nn.Dropout)]
    assert (rates.count(0.2), rates.count(0.3)) == (10, 4)
    assert not [module for module in Generator(toys.masked_lm()).modules() if isinstance(module, nn.Dropout)]


def heads(kind: torch.dtype = torch.float32) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, 9, 8, generator=draw).to(kind).requires_grad_() for _ in range(3)]


MASK = (torch.arange(9) < torch.tensor([[9], [4], [6]]))[:, None, None].expand(-1, -1, 9, -1)


@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
def test_attention_in_half_precision_is_attention(mask: torch.Tensor | None) -> None:
    inputs = heads(torch.bfloat16)
    ours, _ = attend(nn.Module(), *inputs, mask)
    precise = [x.detach().float().requires_grad_() for x in inputs]
    theirs = F.scaled_dot_product_attention(*precise, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(ours.float(), theirs, atol=0.03, rtol=0.03)
    towards = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(ours, inputs, towards.bfloat16())
    expected = torch.autograd.grad(theirs, precise, towards)
    for mine, yours in zip(got, expected, strict=True):
        torch.testing.assert_close(mine.float(), yours, atol=0.06, rtol=0.06)


def test_attention_without_dropout_and_in_float32_is_the_library_s() -> None:
    ours, _ = attend(nn.Module(), *heads(), MASK)
    theirs = F.scaled_dot_product_attention(*heads(), attn_mask=MASK).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_attention_with_dropout_has_attention_as_its_mean() -> None:
    inputs = [x.detach() for x in heads()]
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=MASK).transpose(1, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = torch.stack([attend(nn.Module(), *inputs, MASK, dropout=0.2)[0] for _ in range(2000)])
    assert drawn.std(0).mean() > 0.05
    error = drawn.std(0) / 2000**0.5
    assert ((drawn.mean(0) - expected).abs() < 5 * error + 1e-6).all()


def test_a_saved_student_says_nothing_of_it(tmp_path) -> None:
    toys.classifier().model.save_pretrained(tmp_path)
    assert "limbeck" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_training_with_dropout_differs_from_draw_to_draw_and_not_under_a_seed(family: str) -> None:
    classifier = toys.classifier(family).train()
    ids, mask = torch.randint(5, 90, (2, 7), generator=torch.Generator().manual_seed(0)), torch.ones(2, 7)
    with torch.random.fork_rng():
        outs = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            outs.append(classifier(input_ids=ids, attention_mask=mask).logits)
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])

"""Mixup: mixes and their loss by NumPy, exact limits, and the law of the shares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import toys
from limbeck.encoding import Batch
from limbeck.methods.base import STUDENT
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.mixup import Mixup, MixupConfig, mix, partners
from limbeck.noise import RowNoise
from methods import linear


def noise(step: int = 0) -> RowNoise:
    return RowNoise(3, step, range(8))


def shares(method: Mixup, batch: Batch, step: int = 0) -> np.ndarray:
    return method._mix(batch, noise(step)).share.double().numpy()


def test_partners_by_hand() -> None:
    assert partners(4).tolist() == [1, 0, 3, 2]
    assert partners(5).tolist() == [1, 0, 3, 2, 4]
    assert partners(1).tolist() == [0]


@pytest.mark.parametrize("share", [1.0, 0.0])
@pytest.mark.parametrize("seed", range(5))
def test_at_the_ends_a_mix_is_one_of_its_rows(share: float, seed: int) -> None:
    """Exactly, whatever the partner's length and segments."""
    batch = toys.batch(seed=seed)
    batch = replace(batch, token_type_ids=(torch.arange(12) > torch.arange(8)[:, None] + 2).long())
    parts = toys.parts()
    with torch.no_grad():
        clean = parts.student(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
        ).logits
        mixed = Mixup(MixupConfig(), parts)._logits(parts.student, mix(batch, torch.full((8, 1), share)))
    torch.testing.assert_close(mixed, clean if share == 1 else clean[partners(8)])


def test_a_mix_of_two_lengths_by_hand() -> None:
    """[CLS] a b c [SEP] and [CLS] d [SEP] at λ = ¾ and ¼: five tokens and three, alone beyond the shorter's end."""
    rows = torch.tensor([[1, 10, 11, 12, 2], [1, 20, 2, 0, 0]])
    batch = toys.batch(2, longest=5)
    batch = replace(batch, input_ids=rows, attention_mask=(rows > 0).long(), maskable=rows > 2)
    made = mix(batch, torch.tensor([[0.75], [0.25]]))
    assert made.batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert made.weight[..., 0].tolist() == [[0.75, 0.75, 0.75, 1, 1], [0.25, 0.25, 0.25, 0, 0]]
    short = mix(batch, torch.tensor([[0.25], [0.75]]))
    assert short.batch.attention_mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]


@pytest.mark.parametrize("target", ["teacher", "labels"])
def test_loss_by_numpy(target: str) -> None:
    config = MixupConfig(target=target, weight=0.8, distillation=0.3, temperature=1.7, alpha=0.6)
    parts, batch, tau = linear.parts(), toys.batch(), 1.7
    method, mask = Mixup(config, parts), batch.attention_mask.numpy().astype(bool)
    share = shares(method, batch)
    other = [1, 0, 3, 2, 5, 4, 7, 6]

    def mixed(network: linear.Numbers) -> np.ndarray:
        embeds, out = network.embeds(batch.input_ids), []
        for i, j in enumerate(other):
            length = int((mask[i] if share[i] >= 0.5 else mask[j]).sum())
            points = []
            for p in range(length):
                if mask[i, p] and mask[j, p]:
                    points.append(share[i] * embeds[i, p] + (1 - share[i]) * embeds[j, p])
                else:
                    points.append(embeds[i, p] if mask[i, p] else embeds[j, p])
            out.append(network.logits(np.array([points]), np.ones((1, length)))[0])
        return np.array(out)

    student, teacher = linear.Numbers(parts.student), linear.Numbers(parts.teacher)
    if target == "teacher":
        q = linear.softmax(mixed(teacher) / tau)
    else:
        soft = linear.softmax(batch.teacher_logits.double().numpy() / tau)
        q = share * soft + (1 - share) * soft[other]
    term = linear.kl(np.log(q) * tau, mixed(student), tau).mean()
    clean = student.of(batch.input_ids, mask)
    expected = linear.kd(batch, clean, 0.3, tau) + 0.8 * term
    loss = method.loss(batch, STUDENT, noise())
    assert loss.parts["mixed"].item() == pytest.approx(term, rel=1e-4)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_weight_zero_is_kd() -> None:
    parts, batch = toys.parts(), toys.batch()
    ours = Mixup(MixupConfig(weight=0, temperature=3.0, distillation=0.7), parts).loss(batch, STUDENT, noise()).total
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert ours.item() == kd.item()


def test_networks_that_agree_agree_between_rows() -> None:
    parts = linear.parts()
    same = Mixup(MixupConfig(), replace(parts, teacher=parts.student))
    assert same.loss(toys.batch(), STUDENT, noise()).parts["mixed"].item() == pytest.approx(0, abs=1e-6)


def test_no_embedding_of_a_pad_is_read() -> None:
    parts = linear.parts()
    method = Mixup(MixupConfig(), parts)
    before = method.loss(toys.batch(), STUDENT, noise()).total.item()
    with torch.no_grad():
        for network in (parts.student, parts.teacher):
            network.embedding.weight[toys.PAD] = 1e3
    assert method.loss(toys.batch(), STUDENT, noise()).total.item() == before


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 3.0])
def test_shares_follow_the_beta_law(alpha: float) -> None:
    method = Mixup(MixupConfig(alpha=alpha), toys.parts())
    drawn = np.concatenate([shares(method, toys.batch(), step) for step in range(300)]).ravel()
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_regression_mixes_the_outputs() -> None:
    batch = toys.batch(classes=0)
    method = Mixup(MixupConfig(target="labels"), linear.parts(0))
    share, q = shares(method, batch), batch.teacher_logits.numpy()
    target = method._target(batch, method._mix(batch, noise())).numpy()
    np.testing.assert_allclose(target, share * q + (1 - share) * q[[1, 0, 3, 2, 5, 4, 7, 6]], rtol=1e-6)

"""The contrasts of cilda and codir against numbers worked by hand or in float64 NumPy."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import toys
from limbeck.methods.contrast import (
    OtherView,
    Projection,
    Representations,
    cosines,
    distance,
    even_layers,
    infonce,
    infonce_in_batch,
    infonce_in_pool,
    nce,
    read_layers,
)


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def equally_apart(count: int, cosine: float) -> np.ndarray:
    """`count` vectors of unit length, each pair at the same cosine."""
    return np.linalg.cholesky(np.full((count, count), cosine) + (1 - cosine) * np.eye(count))


@pytest.mark.parametrize(
    ("count", "available", "expected"),
    [(3, 6, (2, 4, 6)), (6, 12, (2, 4, 6, 8, 10, 12)), (2, 3, (1, 3)), (1, 4, (4,)), (4, 4, (1, 2, 3, 4))],
)
def test_even_layers(count: int, available: int, expected: tuple[int, ...]) -> None:
    assert even_layers(count, available) == expected


def test_more_layers_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="4 layers cannot be chosen from 3"):
        even_layers(4, 3)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize(("negatives", "cosine"), [(1, 0.3), (10, -0.2), (100, 0.9)])
def test_infonce_of_equally_far_negatives(negatives: int, cosine: float, temperature: float) -> None:
    loss = infonce(torch.ones(3, dtype=torch.float64), torch.full((3, negatives), cosine).double(), temperature)
    assert loss.item() == pytest.approx(math.log(1 + negatives * math.exp((cosine - 1) / temperature)), rel=1e-6)


def test_infonce_of_different_rows() -> None:
    positive, negatives = np.array([0.9, -0.1]), np.array([[0.5, 0.2, -0.3], [0.0, 0.4, 0.7]])
    e_positive, e_negatives = np.exp(positive / 0.2), np.exp(negatives / 0.2)
    expected = np.mean(-np.log(e_positive / (e_positive + e_negatives.sum(1))))
    assert infonce(torch.tensor(positive), torch.tensor(negatives), 0.2).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_pool_of_texts_that_are_equally_far_from_each_other(temperature: float) -> None:
    """4 anchors on their own texts; the pool holds 8 texts at cosine 0.4 to each other."""
    texts = torch.tensor(equally_apart(8, 0.4))
    anchors, other = texts[:4], texts[4:]
    far, near = math.exp(0.4 / temperature), math.exp(1 / temperature)
    expected = {
        "negative": math.log(1 + 7 * far / near),
        "ignored": math.log(1 + 6 * far / near),
        "positive": math.log((near + 7 * far) / math.sqrt(near * far)),
    }
    for view, value in expected.items():
        loss = infonce_in_pool(anchors, anchors, other, temperature, view)  # type: ignore[arg-type]
        assert loss.item() == pytest.approx(value, rel=1e-9), view


@pytest.mark.parametrize("view", ["positive", "ignored", "negative"])
def test_pool_of_random_texts(view: OtherView) -> None:
    """Against loops over anchors and candidates."""
    anchors, own, other = (unit(5, 3, seed=s) for s in (1, 2, 3))
    total = 0.0
    for i, anchor in enumerate(anchors):
        scores = [("own", j, math.exp(anchor @ t / 0.3)) for j, t in enumerate(own)]
        scores += [("other", j, math.exp(anchor @ t / 0.3)) for j, t in enumerate(other)]
        below = sum(e for kind, j, e in scores if not (view == "ignored" and kind == "other" and j == i))
        right = [e for kind, j, e in scores if j == i and (kind == "own" or view == "positive")]
        total += sum(-math.log(e / below) for e in right) / len(right) / len(anchors)
    loss = infonce_in_pool(torch.tensor(anchors), torch.tensor(own), torch.tensor(other), 0.3, view)
    assert loss.item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_a_batch_of_texts_that_are_equally_far_from_each_other(temperature: float) -> None:
    texts, alone = torch.tensor(equally_apart(6, 0.3)), torch.eye(6, dtype=torch.bool)
    loss = infonce_in_batch(texts, texts, alone, temperature)
    assert loss.item() == pytest.approx(math.log(1 + 5 * math.exp((0.3 - 1) / temperature)), rel=1e-9)
    twins = alone.clone()
    twins[0, 1] = twins[1, 0] = True
    loss = infonce_in_batch(texts, texts, twins, temperature)
    four, five = (math.log(1 + count * math.exp((0.3 - 1) / temperature)) for count in (4, 5))
    assert loss.item() == pytest.approx((2 * four + 4 * five) / 6, rel=1e-9)
    assert infonce_in_batch(texts, texts, torch.ones(6, 6, dtype=torch.bool), temperature).item() == 0


def test_nce_in_numpy() -> None:
    rows, p = 50, np.array([[0.4, 0.01, 0.2, 0.003], [0.02, 0.5, 0.07, 0.1]])
    chance = 3 / rows
    expected = -np.mean(np.log(p[:, 0] / (p[:, 0] + chance)) + np.log(chance / (p[:, 1:] + chance)).sum(1))
    assert nce(torch.tensor(np.log(p)), rows).item() == pytest.approx(expected, rel=1e-12)


def test_nce_at_chance() -> None:
    """Rows as likely under the model as under the noise (P = 1/N): log(1 + K) + K·log(1 + 1/K)."""
    log_p = torch.full((2, 1 + 20), -math.log(300)).double()
    assert nce(log_p, 300).item() == pytest.approx(math.log(21) + 20 * math.log(1 + 1 / 20), rel=1e-6)


def test_nce_bears_the_largest_cosines_at_the_smallest_temperature() -> None:
    log_p = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) / 0.001
    assert torch.isfinite(nce(log_p, 10))


def test_distance_is_two_less_twice_the_cosine() -> None:
    student, teacher = unit(4, 6, seed=1), unit(4, 6, seed=2)
    expected = np.mean(2 - 2 * (student * teacher).sum(1))
    assert distance(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-12)


def test_cosines() -> None:
    anchors, others = unit(2, 3, seed=1), unit(2, 4, 3, seed=2)
    expected = [[float(others[i, k] @ anchors[i]) for k in range(4)] for i in range(2)]
    np.testing.assert_allclose(cosines(torch.tensor(anchors), torch.tensor(others)).numpy(), expected, rtol=1e-12)


def test_gradients() -> None:
    draw = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    assert gradcheck(lambda p, n: infonce(p, n, 0.5), (leaf(3), leaf(3, 4)))
    views: list[OtherView] = ["positive", "ignored", "negative"]
    for view in views:
        assert gradcheck(lambda a, t, u, v=view: infonce_in_pool(a, t, u, 0.5, v), (leaf(3, 2), leaf(3, 2), leaf(3, 2)))
    twins = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    assert gradcheck(lambda a, t: infonce_in_batch(a, t, twins, 0.5), (leaf(3, 2), leaf(3, 2)))
    assert gradcheck(lambda s: nce(s, 20), (leaf(3, 5),))
    assert gradcheck(distance, (leaf(3, 2), leaf(3, 2)))
    projection = Projection(4, 2, seed=0).double()
    assert gradcheck(projection, (leaf(3, 4),))


def test_layers_are_pooled_over_real_tokens_and_put_side_by_side() -> None:
    batch = toys.batch()
    out = toys.classifier(layers=3)(input_ids=batch.input_ids, attention_mask=batch.attention_mask, hidden=True)
    assert out.hidden is not None
    hidden = [h.detach().double().numpy() for h in out.hidden]
    lengths = batch.attention_mask.sum(1).tolist()
    means = [[hidden[k][i, :n].mean(0) for k in (1, 3)] for i, n in enumerate(lengths)]
    firsts = [[hidden[k][i, 0] for k in (1, 3)] for i in range(len(batch))]
    mean, first = (read_layers(out.hidden, (1, 3), batch.attention_mask, pooling) for pooling in ("mean", "cls"))
    np.testing.assert_allclose(mean.detach().numpy(), np.array(means).reshape(8, -1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first.detach().numpy(), np.array(firsts).reshape(8, -1), rtol=1e-6)


def test_projections_are_of_unit_length_and_drawn_by_the_seed_alone() -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    projection = Projection(7, 3, seed=4)
    torch.testing.assert_close(projection(x).norm(dim=1), torch.ones(5))
    torch.manual_seed(123)
    assert torch.equal(Projection(7, 3, seed=4).weight, projection.weight)
    assert not torch.equal(Projection(7, 3, seed=5).weight, projection.weight)


def test_half_precision_outside_leaves_cosines_exact() -> None:
    parts, batch = toys.parts(), toys.batch()
    represent = Representations((parts.student, parts.teacher), ((2,), (3,)), "mean", 6, 0)
    with torch.no_grad():
        out = parts.student(input_ids=batch.input_ids, attention_mask=batch.attention_mask, hidden=True)
        exact = represent.student(out.hidden, batch.attention_mask)
        with torch.autocast("cpu", torch.bfloat16):
            under = represent.student(out.hidden, batch.attention_mask)
            pooled = infonce_in_pool(under, under, under, 0.07, "ignored")
    assert torch.equal(exact, under)
    assert pooled.item() == pytest.approx(infonce_in_pool(exact, exact, exact, 0.07, "ignored").item(), rel=1e-6)

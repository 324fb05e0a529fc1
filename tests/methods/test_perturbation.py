"""Perturbations of embeddings: sizes, balls and steps by hand."""

import numpy as np
import pytest
import torch

from limbeck.methods.perturbation import (
    Ball,
    Norm,
    example_size,
    gradient_at,
    nearest_tokens,
    project,
    scaled,
    start,
    step_uphill,
)

EVERYWHERE = torch.ones(1, 1, dtype=torch.bool)
X = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[1.0, -2.0], [2.0, 0.0]]])


def test_sizes_by_hand() -> None:
    assert example_size(X, "l2").flatten().tolist() == [5.0, 3.0]
    assert example_size(X, "linf").flatten().tolist() == [4.0, 2.0]


def test_projections_by_hand() -> None:
    far, near = torch.tensor([[[3.0, -4.0]]]), torch.tensor([[[0.3, -0.4]]])
    torch.testing.assert_close(project(far, Ball("l2", 1.0)), torch.tensor([[[0.6, -0.8]]]))
    torch.testing.assert_close(project(far, Ball("linf", 3.5)), torch.tensor([[[3.0, -3.5]]]))
    for norm in ("l2", "linf"):
        assert torch.equal(project(near, Ball(norm, 1.0)), near)
        assert torch.equal(project(far, Ball(norm, 0.0)), far), "radius 0 sets no bound"
    assert torch.equal(project(torch.zeros(1, 1, 2), Ball("l2", 1.0)), torch.zeros(1, 1, 2))


def test_a_step_by_hand() -> None:
    """The second place may not move, so its gradient counts neither in the direction nor in its length."""
    gradient = torch.tensor([[[3.0, -4.0], [80.0, 60.0]]])
    allowed = torch.tensor([[True, False]])
    zero = torch.zeros_like(gradient)
    l2 = step_uphill(zero, gradient, 0.5, Ball("l2", 0.0), allowed)
    torch.testing.assert_close(l2, torch.tensor([[[0.3, -0.4], [0.0, 0.0]]]))
    linf = step_uphill(zero, gradient, 0.5, Ball("linf", 0.0), allowed)
    torch.testing.assert_close(linf, torch.tensor([[[0.375, -0.5], [0.0, 0.0]]]))
    bounded = step_uphill(zero, gradient, 0.5, Ball("l2", 0.25), allowed)
    torch.testing.assert_close(bounded, torch.tensor([[[0.15, -0.2], [0.0, 0.0]]]))


def test_without_gradient_nothing_moves() -> None:
    delta = torch.tensor([[[0.1, 0.2]]])
    for norm in ("l2", "linf"):
        assert torch.equal(step_uphill(delta, torch.zeros_like(delta), 0.5, Ball(norm, 1.0), EVERYWHERE), delta)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("radius", [0.05, 0.6])
def test_every_step_stays_in_the_ball_and_on_its_places(norm: Norm, radius: float) -> None:
    draw, ball = torch.Generator().manual_seed(0), Ball(norm, radius)
    allowed = torch.rand(4, 6, generator=draw) < 0.6
    delta = start(2 * torch.rand(4, 6, 3, generator=draw) - 1, 1.0, ball, allowed)
    for _ in range(30):
        assert (example_size(delta, norm) <= radius * (1 + 1e-6)).all()
        assert not delta[~allowed].any()
        delta = step_uphill(delta, torch.randn(4, 6, 3, generator=draw), 0.2, ball, allowed)
    assert (example_size(delta, norm) > 0.5 * radius)[allowed.any(1)].all(), "the bound should be felt"


def test_a_start_is_as_large_for_long_texts_as_for_short_ones() -> None:
    uniform = 2 * torch.rand(2, 400, 8, generator=torch.Generator().manual_seed(0)) - 1
    allowed = torch.arange(400) < torch.tensor([[40], [400]])
    l2 = start(uniform, 0.3, Ball("l2", 0.0), allowed)
    # ‖δ₀‖² is the mean of m·d squares of U[−1, 1), 1/3 each: for 320 of them a standard error of 0.017.
    torch.testing.assert_close(example_size(l2, "l2").flatten() ** 2, torch.full((2,), 0.09 / 3), atol=0, rtol=0.15)
    linf = example_size(start(uniform, 0.3, Ball("linf", 0.0), allowed), "linf").flatten()
    assert (linf <= 0.3).all()
    assert (linf > 0.29).all()
    assert not start(uniform, 0.3, Ball("l2", 0.0), torch.zeros(2, 400, dtype=torch.bool)).any()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_scaling_keeps_the_direction_and_sets_the_size(norm: Norm) -> None:
    draw = torch.Generator().manual_seed(1)
    direction, allowed = torch.randn(3, 4, 2, generator=draw), torch.rand(3, 4, generator=draw) < 0.7
    size = torch.tensor([0.1, 1.0, 0.0]).view(-1, 1, 1)
    out = scaled(direction, size, norm, allowed)
    torch.testing.assert_close(example_size(out, norm), size)
    cosine = torch.cosine_similarity(out.flatten(1), (direction * allowed.unsqueeze(-1)).flatten(1))
    torch.testing.assert_close(cosine[:2], torch.ones(2))


def test_gradient_of_a_quadratic() -> None:
    delta = torch.tensor([[[1.0, -2.0]]])
    assert gradient_at(delta, lambda d: (3 * d * d).sum()).tolist() == [[[6.0, -12.0]]]
    assert not delta.requires_grad


def test_nearest_tokens_by_distance() -> None:
    """By all distances in NumPy; the longest embedding has the largest products and must not win by that."""
    rng = np.random.default_rng(0)
    table, points = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    table[7] *= 10
    expected = ((points[:, None] - table[None]) ** 2).sum(-1).argmin(1)
    assert nearest_tokens(torch.tensor(table), torch.tensor(points)).tolist() == expected.tolist()

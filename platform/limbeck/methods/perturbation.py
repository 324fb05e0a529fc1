"""Adversarial noise on word embeddings: projected ascent, one ball an example.

*Source* FreeLB, Zhu et al. 2020, arXiv 1909.11764, algorithm 1; zhuchen03/FreeLB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.encoding import Batch
from limbeck.models import Classifier

Norm = Literal["l2", "linf"]
TINY = 1e-12


@dataclass(frozen=True)
class Ball:
    """Where a perturbation may be: a ball of radius ε around 0 for each example; radius 0 means everywhere."""

    norm: Norm
    radius: float


def example_size(x: Tensor, norm: Norm) -> Tensor:
    """(B, n, d) → (B, 1, 1): each example's Frobenius norm (l2) or its largest number (linf)."""
    sizes: Tensor = torch.linalg.vector_norm(x.flatten(1), 2 if norm == "l2" else torch.inf, dim=1)
    return sizes.view(-1, 1, 1)


def project(delta: Tensor, ball: Ball) -> Tensor:
    """The nearest point of each example's ball: scaled back (l2) or clamped number by number (linf)."""
    if ball.radius == 0:
        return delta
    if ball.norm == "linf":
        return delta.clamp(-ball.radius, ball.radius)
    return delta * (ball.radius / example_size(delta, "l2").clamp(min=TINY)).clamp(max=1)


def step_uphill(delta: Tensor, gradient: Tensor, step_size: float, ball: Ball, allowed: Tensor) -> Tensor:
    """Π(δ + η·g/‖g‖) on the `allowed` (B, n) places, 0 elsewhere; ‖·‖ is the ball's norm.

    An example without gradient stays where it is.
    """
    return project(delta + scaled(gradient, step_size, ball.norm, allowed), ball)


def scaled(direction: Tensor, size: float | Tensor, norm: Norm, allowed: Tensor) -> Tensor:
    """(B, n, d) `direction` with `size` for each example, 0 outside the `allowed` (B, n) places."""
    direction = direction * allowed.unsqueeze(-1)
    return direction * (size / example_size(direction, norm).clamp(min=TINY))


def start(uniform: Tensor, size: float, ball: Ball, allowed: Tensor) -> Tensor:
    """δ₀ = Π(s·u/√(m·d)) for l2, Π(s·u) for linf: (B, n, d) numbers u of U[−1, 1) on m `allowed` places, 0 elsewhere.

    So a start is as large for a long text as for a short one: ‖δ₀‖ ≈ s/√3 (l2), or at most s (linf).
    """
    numbers = allowed.sum(1).clamp(min=1) * uniform.shape[2] if ball.norm == "l2" else torch.ones_like(allowed.sum(1))
    return project(size / numbers.sqrt().view(-1, 1, 1) * uniform * allowed.unsqueeze(-1), ball)


def gradient_at(delta: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
    """∂objective/∂δ: the networks' own gradients are not computed."""
    leaf = delta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(leaf), leaf)
    return gradient.detach()


def nearest_tokens(embedding: Tensor, vectors: Tensor) -> Tensor:
    """(P, d) → (P,): the tokens whose (V, d) embeddings are closest by Euclidean distance."""
    return (vectors @ embedding.T - 0.5 * embedding.square().sum(1)).argmax(1)


def words(classifier: Classifier, batch: Batch) -> Tensor:
    """(B, n, d) float32 word embeddings of a batch."""
    out: Tensor = classifier.embedding(batch.input_ids)
    return out.float()

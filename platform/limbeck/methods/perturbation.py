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


@dataclass(frozen=True)
class Ball:
    """Where a perturbation may be: a ball of radius ε around 0 for each example; radius 0 means everywhere."""

    norm: Norm
    radius: float


def example_norm(x: Tensor) -> Tensor:
    """(B, n, d) → (B, 1, 1): the Frobenius norm of each example."""
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.view(-1, 1, 1)


def project(delta: Tensor, ball: Ball) -> Tensor:
    """The nearest point of each example's ball: scaled back (l2) or clamped number by number (linf)."""
    if ball.radius == 0:
        return delta
    if ball.norm == "linf":
        return delta.clamp(-ball.radius, ball.radius)
    return delta * (ball.radius / example_norm(delta).clamp(min=1e-12)).clamp(max=1)


def step_uphill(delta: Tensor, gradient: Tensor, step_size: float, ball: Ball, allowed: Tensor) -> Tensor:
    """Π(δ + η·g/‖g‖_F) on the `allowed` (B, n) places, 0 elsewhere. An example without gradient stays where it is."""
    gradient = gradient * allowed.unsqueeze(-1)
    direction = gradient / example_norm(gradient).clamp(min=1e-12)
    return project(delta + step_size * direction, ball) * allowed.unsqueeze(-1)


def start(normal: Tensor, sigma: float, ball: Ball, allowed: Tensor) -> Tensor:
    """δ₀ = Π(σ·u) for (B, n, d) standard normal numbers u, 0 outside the `allowed` places."""
    return project(sigma * normal * allowed.unsqueeze(-1), ball)


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

"""Losses that two methods or more use: pure functions of tensors, in float32 whatever comes in."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.tasks import UNLABELLED

Divergence = Literal["kl", "ce", "mse"]


def widened(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return x if x.dtype == torch.float64 else x.float()


def supervised_rows(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) cross-entropy of (B, C) logits against (B,) classes, or squared error against (B,) float labels.

    0 for rows without a label (UNLABELLED, NaN): they have no such term.
    """
    if labels.is_floating_point():
        known = labels.isfinite()
        return (widened(logits).squeeze(-1) - labels.where(known, 0)).square() * known
    return F.cross_entropy(widened(logits), labels, reduction="none", ignore_index=UNLABELLED)


def supervised(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of `supervised_rows` over the batch."""
    return supervised_rows(logits, labels).mean()


def divergence(teacher: Tensor, student: Tensor, kind: Divergence, temperature: float, regression: bool) -> Tensor:
    """The mean of `divergence_rows` over the batch."""
    return divergence_rows(teacher, student, kind, temperature, regression).mean()


def divergence_rows(teacher: Tensor, student: Tensor, kind: Divergence, temperature: float, regression: bool) -> Tensor:
    """(B,) how far the student's (B, C) logits are from the teacher's.

    kl:  τ²·Σ p_T (log p_T − log p_S), p = softmax(z/τ); the τ² of Hinton et al. (2015, section 2.1) keeps gradients of
         one size when τ varies.
    ce:  −τ²·Σ p_T log p_S = kl + τ²·H(p_T): the same for the student, but an adversary is also paid for inputs on which
         the teacher is unsure.
    mse: mean squared difference of the logits. Regression always takes this one.
    """
    teacher, student = widened(teacher), widened(student)
    if kind == "mse" or regression:
        return (student - teacher).square().mean(-1)
    log_p_student = F.log_softmax(student / temperature, -1)
    log_p_teacher = F.log_softmax(teacher / temperature, -1)
    cross = -(log_p_teacher.exp() * log_p_student).sum(-1)
    if kind == "ce":
        return temperature**2 * cross
    return temperature**2 * (cross + (log_p_teacher.exp() * log_p_teacher).sum(-1))


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, n, d) → (B, d): mean over the real tokens."""
    weights = attention_mask.unsqueeze(-1).to(widened(hidden).dtype)
    return (widened(hidden) * weights).sum(1) / weights.sum(1).clamp(min=1)

"""Losses that two methods or more use: pure functions of tensors, in float32 whatever comes in."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Divergence = Literal["kl", "ce", "mse"]


def supervised(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (B, C) logits against (B,) classes; mean squared error against (B,) float labels."""
    if labels.is_floating_point():
        return F.mse_loss(logits.float().squeeze(-1), labels)
    return F.cross_entropy(logits.float(), labels)


def divergence(teacher: Tensor, student: Tensor, kind: Divergence, temperature: float, regression: bool) -> Tensor:
    """How far the student's (B, C) logits are from the teacher's, averaged over the batch.

    kl:  τ²·Σ p_T (log p_T − log p_S), p = softmax(z/τ); the τ² of Hinton et al. (2015, section 2.1) keeps gradients of
         one size when τ varies.
    ce:  −τ²·Σ p_T log p_S = kl + τ²·H(p_T): the same for the student, but an adversary is also paid for inputs on which
         the teacher is unsure.
    mse: mean squared difference of the logits. Regression always takes this one.
    """
    teacher, student = teacher.float(), student.float()
    if kind == "mse" or regression:
        return F.mse_loss(student, teacher)
    log_p_student = F.log_softmax(student / temperature, -1)
    log_p_teacher = F.log_softmax(teacher / temperature, -1)
    cross = -(log_p_teacher.exp() * log_p_student).sum(-1)
    if kind == "ce":
        return temperature**2 * cross.mean()
    return temperature**2 * (cross + (log_p_teacher.exp() * log_p_teacher).sum(-1)).mean()


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, n, d) → (B, d): mean over the real tokens."""
    weights = attention_mask.to(torch.float32).unsqueeze(-1)
    return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)

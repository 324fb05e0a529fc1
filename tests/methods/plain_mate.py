"""MATE-KD as published, written plainly: every input padded to 128 tokens, vocabulary products at every position.

A reference to compare the fast form with, in numbers here and in speed in the benchmarks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Plain:
    """Three Hugging Face models with one vocabulary, and the published settings."""

    teacher: nn.Module
    student: nn.Module
    generator: nn.Module
    temperature: float = 1.0


def invented_embeds(
    plain: Plain, ids: Tensor, mask: Tensor, attention_mask: Tensor, gumbel: Tensor, mask_id: int
) -> tuple[Tensor, Tensor]:
    """(B, n, d) inputs for teacher and student; `gumbel` is (B, n, V), `mask` (B, n) bool."""
    masked = torch.where(mask, torch.full_like(ids, mask_id), ids)
    scores = plain.generator(input_ids=masked, attention_mask=attention_mask).logits
    soft = F.softmax((F.log_softmax(scores, -1) + gumbel) / plain.temperature, -1)
    hard = F.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    y = hard - soft.detach() + soft
    m = mask.to(soft.dtype).unsqueeze(-1)
    tables = [model.get_input_embeddings().weight for model in (plain.teacher, plain.student)]
    teacher, student = (m * (y @ table) + (1 - m) * table[ids] for table in tables)
    return teacher, student


def kl(teacher: Tensor, student: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="batchmean")


def adversarial_divergence(
    plain: Plain, ids: Tensor, mask: Tensor, attention_mask: Tensor, gumbel: Tensor, mask_id: int
) -> Tensor:
    teacher, student = invented_embeds(plain, ids, mask, attention_mask, gumbel, mask_id)
    return kl(
        plain.teacher(inputs_embeds=teacher, attention_mask=attention_mask).logits,
        plain.student(inputs_embeds=student, attention_mask=attention_mask).logits,
    )


def student_loss(
    plain: Plain, ids: Tensor, mask: Tensor, attention_mask: Tensor, gumbel: Tensor, mask_id: int, labels: Tensor
) -> Tensor:
    clean = plain.student(input_ids=ids, attention_mask=attention_mask).logits
    with torch.no_grad():
        target = plain.teacher(input_ids=ids, attention_mask=attention_mask).logits
    adversarial = adversarial_divergence(plain, ids, mask, attention_mask, gumbel, mask_id)
    return (F.cross_entropy(clean, labels) + kl(target, clean) + adversarial) / 3

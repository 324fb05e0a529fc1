"""Weights of a narrower network chosen from those of a wider one."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.models.classifier import HubClassifier
from limbeck.models.families import ModelFacts

_LAYER = re.compile(r"(?<=\.layer\.)\d+(?=\.)")


def evenly_spaced(total: int, count: int) -> Tensor:
    """Return (count,) evenly spaced indices below `total`: every k-th where `count` divides it, else both ends too.

    Source: Xu et al. 2023, Initializing Models with Larger Ones, arXiv 2311.18823, uniform element selection.
    """
    if total % count == 0:
        return torch.arange(count) * (total // count)
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()


def _joined_heads(teacher: ModelFacts, student: ModelFacts) -> Tensor:
    """Return the (student.hidden,) channels to keep where heads are joined: whole heads, evenly spaced within."""
    theirs, ours = teacher.hidden // teacher.heads, student.hidden // student.heads
    if student.heads > teacher.heads or ours > theirs:
        # Split or merged heads have no whole head to copy; neighbours stay neighbours.
        return evenly_spaced(teacher.hidden, student.hidden)
    heads, within = evenly_spaced(teacher.heads, student.heads), evenly_spaced(theirs, ours)
    return (heads[:, None] * theirs + within).flatten()


@torch.no_grad()
def copy_weights(student: HubClassifier, teacher: HubClassifier, layer_map: Sequence[int]) -> None:
    """Fill every weight of `student` from `teacher`; student layer i comes from teacher layer `layer_map[i]`, from 1.

    A dimension keeps the same indices wherever it occurs, because they depend on its two sizes only; the joined heads
    are the one dimension as wide as another (the hidden states) and are told from it by the weight's name.
    """
    family = teacher.family
    joined = _joined_heads(teacher.facts, student.facts)
    source = dict(teacher.model.named_parameters())
    for name, target in student.model.named_parameters():
        weight: Tensor = source[_LAYER.sub(lambda found: str(layer_map[int(found[0])] - 1), name)]
        owner = name.rpartition(".")[0]
        for dim, count in enumerate(target.shape):
            if owner.endswith(family.attention_columns if dim else family.attention_rows):
                kept = joined
            else:
                kept = _kept(weight.shape[dim], count)
            weight = weight.index_select(dim, kept.to(weight.device))
        target.copy_(weight)


def _kept(total: int, count: int) -> Tensor:
    if count <= total:
        return evenly_spaced(total, count)
    # Only MPNet's position bias can grow: it has a column a head, and each part of a split head takes its head's.
    return torch.arange(count) * total // count

"""The last layer where somebody reads it: what the other positions would hold is thrown away unseen.

A classifier reads the first position alone, a generator those of hidden words. Every position is needed up to the last
layer's attention, which mixes them; what comes after it treats each by itself, and is nine twelfths of a layer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from limbeck.models.families import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def read_at(model: "PreTrainedModel", places: Tensor | None = None) -> Iterator[None]:
    """Meanwhile the model's last hidden states are (B, 1, d), the first of each row, or (1, P, d) at `places`.

    `places` is (P,) int64, positions of the flattened (B, n) batch.
    """

    def cut(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_cut(x, places) if isinstance(x, torch.Tensor) else x for x in inputs)

    family = FAMILIES[model.config.model_type]
    layers = cast(nn.ModuleList, model.base_model.get_submodule(family.layers))
    handle = layers[-1].get_submodule(family.after_attention).register_forward_pre_hook(cut)
    try:
        yield
    finally:
        handle.remove()


def _cut(states: Tensor, places: Tensor | None) -> Tensor:
    return states[:, :1] if places is None else states.flatten(0, 1).index_select(0, places).unsqueeze(0)

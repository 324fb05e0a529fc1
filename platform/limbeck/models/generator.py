"""The masked language model that invents words."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.config import Config


class GeneratorConfig(Config):
    """Which masked language model fills the gaps, and how it is fitted when it has no head of its own."""

    base: str | None = None
    layers: PositiveInt = 3
    fit_updates: Annotated[int, Field(ge=0)] = 1500
    fit_learning_rate: PositiveFloat = 5e-4
    fit_batch_size: PositiveInt = 32
    fit_mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    fit_max_tokens: Annotated[int, Field(ge=8, le=512)] = 64


class Generator(nn.Module):
    """A masked language model whose vocabulary product is left to the caller's chosen positions."""

    @property
    def embedding(self) -> nn.Embedding:
        raise NotImplementedError

    def encode(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def scores(self, hidden: Tensor) -> Tensor:
        raise NotImplementedError

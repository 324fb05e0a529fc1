"""The masked language model that invents words."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from safetensors import safe_open
from torch import Tensor, nn

from limbeck.config import Config
from limbeck.errors import Problem, UserError
from limbeck.models.families import FAMILIES, facts_of, family_of, side_inputs
from limbeck.models.last_layer import read_at
from limbeck.models.loading import SAFE, quiet, resolve, seeded
from limbeck.models.swift import quicken

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Far enough from zero for GELU to be nearly linear on normalised states; the layer norm after it takes the shift away.
_LINEAR_PART = 3.0


class GeneratorConfig(Config):
    """Which masked language model fills the gaps, and how its head is fitted when it has none of its own."""

    base: str | None = None
    """Folder or hub id of a masked language model with the teacher's vocabulary. Default: the teacher's base."""
    layers: PositiveInt | None = 3
    """Layers kept, from the first on, of an encoder whose head is fitted here; null keeps all. A ready masked LM stays
    whole."""
    fit_updates: Annotated[int, Field(ge=0)] = 400
    fit_learning_rate: PositiveFloat = 5e-4
    fit_batch_size: PositiveInt = 32
    fit_mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of a row's words to guess; each row has one at least."""
    fit_max_tokens: Annotated[int, Field(ge=8, le=512)] = 64
    """Longer texts are cut."""
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def fit(self) -> "GeneratorConfig":
        """What decides the fitted weights, without what a method adds to it."""
        return GeneratorConfig(**{name: getattr(self, name) for name in GeneratorConfig.model_fields})


def generators_within(config: Config) -> Iterator[GeneratorConfig]:
    """Yield every generator that a group of settings asks for, at any depth."""
    for _, value in config:
        if isinstance(value, GeneratorConfig):
            yield value
        elif isinstance(value, Config):
            yield from generators_within(value)


class Generator(nn.Module):
    """A masked language model whose vocabulary product is left to the positions the caller picks."""

    def __init__(self, model: "PreTrainedModel", fresh: bool = False) -> None:
        super().__init__()
        family_of(model.config.model_type, "generator")
        quicken(model)
        self.model = model
        self.fresh = fresh
        """Whether its head was made here and knows no word yet."""

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings, (V, e), shared with the head."""
        return cast(nn.Embedding, self.model.get_input_embeddings())

    def guess(
        self, input_ids: Tensor, attention_mask: Tensor, places: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return (P, V) unnormalised log-probabilities of every word at (P,) places of the flattened batch.

        Ids, mask and segments are (B, n).
        """
        with read_at(self.model, places):
            return self.scores(self.encode(input_ids, attention_mask, token_type_ids).squeeze(0))

    @property
    def layers(self) -> int:
        """Number of layers."""
        return facts_of(self.model.config).layers

    @property
    def width(self) -> int:
        """d, the width of the hidden states; the embedding table may be narrower."""
        return facts_of(self.model.config).hidden

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special ones included."""
        return facts_of(self.model.config).max_tokens

    def read(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return hidden states, (B, n, d) each, of ids, mask and segments: the k-th leaves layer k, the 0-th none."""
        inputs = side_inputs(self.model.config, attention_mask, token_type_ids)
        out = self.model.base_model(input_ids=input_ids, return_dict=True, output_hidden_states=True, **inputs)
        states: tuple[Tensor, ...] = out.hidden_states
        return states

    def encode(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the last hidden states, (B, n, d), of ids, mask and segments, each (B, n)."""
        inputs = side_inputs(self.model.config, attention_mask, token_type_ids)
        states: Tensor = self.model.base_model(input_ids=input_ids, return_dict=True, **inputs).last_hidden_state
        return states

    def scores(self, hidden: Tensor) -> Tensor:
        """Return (P, V) unnormalised log-probabilities of every word at P positions with hidden states (P, d)."""
        for name in FAMILIES[self.model.config.model_type].mlm_head:
            hidden = self.model.get_submodule(name)(hidden)
        return hidden

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return (B, n, V) scores at every position: costly, for checks."""
        return self.scores(self.encode(input_ids, attention_mask, token_type_ids))


def new_generator(
    base: Path | str, config: GeneratorConfig, seed: int, device: torch.device | str = "cpu"
) -> Generator:
    """Return the masked LM in the folder or hub id `base`, or its first layers under a fresh head if it has no head.

    A fresh head starts near the identity, so that its scores are products of hidden states and word embeddings.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM

    folder = resolve(base)
    settings: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    dense = FAMILIES[settings.model_type].mlm_dense
    fresh = f"{dense}.weight" not in _weight_names(folder)
    if fresh:
        if (config.layers or 1) > settings.num_hidden_layers:
            what = f"{config.layers} layers, but {base} has {settings.num_hidden_layers}"
            raise UserError(Problem("generator.layers", what))
        settings.num_hidden_layers = config.layers or settings.num_hidden_layers
        settings.tie_word_embeddings = True
    with quiet(), seeded(seed):
        model = AutoModelForMaskedLM.from_pretrained(folder, config=settings, **SAFE)
    if fresh:
        _start_near_identity(model, dense)
    return Generator(model, fresh).to(device)


def _weight_names(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.glob("model*.safetensors"):
        with safe_open(path, "pt") as file:
            names.update(file.keys())
    return names


@torch.no_grad()
def _start_near_identity(model: "PreTrainedModel", name: str) -> None:
    dense = cast(nn.Linear, model.get_submodule(name))
    if dense.in_features == dense.out_features:
        nn.init.eye_(dense.weight)
    else:
        # ELECTRA's narrow embeddings: back along the way by which they were widened.
        dense.weight.copy_(torch.linalg.pinv(model.base_model.get_submodule("embeddings_project").weight.float()))
    nn.init.constant_(dense.bias, _LINEAR_PART)


def save_generator(generator: Generator, folder: Path) -> None:
    """Write a folder that `AutoModelForMaskedLM.from_pretrained` loads."""
    with quiet():
        generator.model.save_pretrained(folder)


def load_generator(name: Path | str, device: torch.device | str = "cpu") -> Generator:
    """Return the fitted generator in a folder, in evaluation mode: a copy of its own that may be trained."""
    from transformers import AutoModelForMaskedLM

    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(resolve(name), **SAFE)
    return Generator(model).to(device).eval()

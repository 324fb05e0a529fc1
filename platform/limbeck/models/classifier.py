"""One face for every text classifier, whatever its family calls its parts."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from torch import Tensor, nn

from limbeck.models.families import FAMILIES, Family, ModelFacts, facts_of, side_inputs
from limbeck.models.last_layer import read_at
from limbeck.models.swift import quicken

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Output:
    """What a classifier says about B inputs of n tokens."""

    logits: Tensor
    """(B, C); C = 1 for regression."""
    hidden: tuple[Tensor, ...] | None = None
    """Each (B, n, d): hidden[0] leaves the embeddings, hidden[k] leaves layer k. Only when asked for."""


class Classifier(Protocol):
    """A text classifier that reads token ids or embeddings; an `nn.Module` underneath."""

    training: bool

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings, (V, e): what `inputs_embeds` would be looked up from."""
        ...

    @property
    def encoder(self) -> nn.Module:
        """Embeddings and layers: all that `Output.hidden` depends on, and nothing else."""
        ...

    @property
    def layers(self) -> int:
        """Number of layers: `Output.hidden` holds one more."""
        ...

    @property
    def width(self) -> int:
        """d, the width of the hidden states; the embedding table may be narrower."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special ones included."""
        ...

    def __call__(
        self,
        *,
        attention_mask: Tensor,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        hidden: bool = False,
    ) -> Output:
        """Classify `input_ids` (B, n) or `inputs_embeds` (B, n, e); `attention_mask` (B, n) is 1 on real tokens."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...


class HubClassifier(nn.Module):
    """A sequence classifier of the transformers library behind the common face."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        quicken(model)
        self.model = model
        self.facts: ModelFacts = facts_of(model.config)

    @property
    def family(self) -> Family:
        """What its family calls its parts."""
        return FAMILIES[self.facts.model_type]

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings, (V, e): what `inputs_embeds` would be looked up from."""
        return cast(nn.Embedding, self.model.get_input_embeddings())

    @property
    def encoder(self) -> nn.Module:
        """Embeddings and layers: all that `Output.hidden` depends on, and nothing else."""
        parts = self.model.base_model.named_children()
        return nn.ModuleList(part for name, part in parts if name != "pooler")

    @property
    def layers(self) -> int:
        """Number of layers: `Output.hidden` holds one more."""
        return self.facts.layers

    @property
    def width(self) -> int:
        """d, the width of the hidden states; the embedding table may be narrower."""
        return self.facts.hidden

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special ones included."""
        return self.facts.max_tokens

    def forward(
        self,
        *,
        attention_mask: Tensor,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        hidden: bool = False,
    ) -> Output:
        """Classify `input_ids` (B, n) or `inputs_embeds` (B, n, e); `attention_mask` (B, n) is 1 on real tokens.

        Embeddings looked up from ids give the logits that the ids give: the encoder adds positions and normalises.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        with nullcontext() if hidden else read_at(self.model):
            out = self.model(
                input_ids=input_ids,
                inputs_embeds=inputs_embeds,
                output_hidden_states=hidden,
                return_dict=True,
                **side_inputs(self.model.config, attention_mask, token_type_ids),
            )
        return Output(out.logits, out.hidden_states if hidden else None)


def parameters(model: nn.Module) -> int:
    """Return the number of distinct parameters of a model."""
    return sum(p.numel() for p in model.parameters())


def parameters_non_embedding(model: nn.Module) -> int:
    """Return the number of parameters outside embedding tables (words, positions, segments)."""
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)

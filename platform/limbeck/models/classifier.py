"""One face for every text classifier, whatever its family calls its parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Output:
    """What a classifier says about B inputs of n tokens."""

    logits: Tensor
    """(B, C); C = 1 for regression."""
    hidden: tuple[Tensor, ...] | None = None
    """Each (B, n, d): hidden[0] leaves the embeddings, hidden[k] leaves layer k. Only when asked for."""


class Classifier(Protocol):
    """A text classifier that reads token ids or embeddings; an `nn.Module` underneath."""

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings, (V, e): what `inputs_embeds` would be looked up from."""
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

    def state_dict(self) -> Mapping[str, Any]: ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...


class HubClassifier(nn.Module):
    """A Hugging Face sequence classifier behind the common face."""

"""What the supported model families call their parts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from limbeck.errors import Problem, UserError, did_you_mean

if TYPE_CHECKING:
    # Importing transformers' models takes seconds; a command that only reads a plan must not pay for it.
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Family:
    """Names and habits of one architecture as transformers writes it."""

    token_types: bool
    """Whether its encoder takes `token_type_ids` at all."""
    counts_positions: bool
    """Whether position ids count real tokens from the padding index on. From embeddings alone the library cannot see
    padding and numbers it too, so position ids are passed explicitly."""
    attention_rows: tuple[str, ...]
    """Ends of the names of projections whose outputs are split into heads."""
    attention_columns: tuple[str, ...]
    """Ends of the names of projections whose inputs are the joined heads."""
    output: str
    """The last linear layer of its sequence classifier: one row a class."""
    mlm_head: tuple[str, ...]
    """Modules of its masked language model that turn hidden states into scores, in order."""
    mlm_dense: str
    """The linear layer of that head before the vocabulary product."""
    layers: str = "encoder.layer"
    """Its encoder's list of layers."""
    after_attention: str = "attention.output"
    """The first module in a layer that treats each position by itself: all that it is given is (B, n, d)."""
    intermediate: str = "intermediate_size"
    dropouts: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")


_BERT_ROWS = ("attention.self.query", "attention.self.key", "attention.self.value")
_BERT_COLUMNS = ("attention.output.dense",)

_ROBERTA = Family(
    token_types=True,
    counts_positions=True,
    attention_rows=_BERT_ROWS,
    attention_columns=_BERT_COLUMNS,
    output="classifier.out_proj",
    mlm_head=("lm_head",),
    mlm_dense="lm_head.dense",
)

FAMILIES = {
    "bert": Family(
        token_types=True,
        counts_positions=False,
        attention_rows=_BERT_ROWS,
        attention_columns=_BERT_COLUMNS,
        output="classifier",
        mlm_head=("cls",),
        mlm_dense="cls.predictions.transform.dense",
    ),
    "camembert": _ROBERTA,
    "distilbert": Family(
        token_types=False,
        counts_positions=False,
        attention_rows=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention_columns=("attention.out_lin",),
        output="classifier",
        mlm_head=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
        mlm_dense="vocab_transform",
        layers="transformer.layer",
        after_attention="sa_layer_norm",
        intermediate="hidden_dim",
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "electra": Family(
        token_types=True,
        counts_positions=False,
        attention_rows=_BERT_ROWS,
        attention_columns=_BERT_COLUMNS,
        output="classifier.out_proj",
        mlm_head=("generator_predictions", "generator_lm_head"),
        mlm_dense="generator_predictions.dense",
    ),
    "mpnet": Family(
        token_types=False,
        counts_positions=True,
        attention_rows=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        attention_columns=("attention.attn.o",),
        output="classifier.out_proj",
        mlm_head=("lm_head",),
        mlm_dense="lm_head.dense",
        after_attention="attention.LayerNorm",
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}


@dataclass(frozen=True)
class ModelFacts:
    """The sizes of an encoder, whatever its family calls them."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    max_tokens: int
    """Longest input in tokens, special ones included."""
    vocabulary: int
    pad_id: int


def family_of(model_type: str, where: str) -> Family:
    """Return the family, or raise UserError naming `where` the unknown type was found."""
    if model_type not in FAMILIES:
        hint = did_you_mean(model_type, FAMILIES)
        raise UserError(Problem(where, f"models of type {model_type!r} are not supported. {hint}"))
    return FAMILIES[model_type]


def padding_index(config: "PreTrainedConfig") -> int:
    """Return the position id of padding in a family that counts positions."""
    return 1 if config.model_type == "mpnet" else int(config.pad_token_id)


def facts_of(config: "PreTrainedConfig") -> ModelFacts:
    """Read the sizes off a transformers configuration."""
    family = family_of(config.model_type, "model")
    lost = padding_index(config) + 1 if family.counts_positions else 0
    return ModelFacts(
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate=getattr(config, family.intermediate),
        max_tokens=config.max_position_embeddings - lost,
        vocabulary=config.vocab_size,
        pad_id=config.pad_token_id or 0,
    )


def side_inputs(config: "PreTrainedConfig", attention_mask: Tensor, token_type_ids: Tensor | None) -> dict[str, Tensor]:
    """Return the encoder's inputs besides ids or embeddings, each (B, n), as its family wants them."""
    family = FAMILIES[config.model_type]
    inputs = {"attention_mask": attention_mask}
    if family.token_types and token_type_ids is not None and config.type_vocab_size > 1:
        inputs["token_type_ids"] = token_type_ids
    if family.counts_positions:
        mask = attention_mask.long()
        inputs["position_ids"] = mask.cumsum(1) * mask + padding_index(config)
    return inputs

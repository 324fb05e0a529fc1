"""The forms in which a student leaves: how each is written, and how close to the student it must stay."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from limbeck.export.facts import Facts
from limbeck.models.families import family_of
from limbeck.models.loading import SAFE, quiet
from limbeck.onnx_graph import write_graph, write_quantised
from limbeck.predictor.engines import GRAPH

TOLERANCE = 1e-4
"""Largest difference of a logit between the trained student and an exported one in float32."""
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Format:
    """One form of a model."""

    write: Callable[[Path, Path], None]
    """(student's folder, empty folder): write the model itself; config and tokenizer are there already."""
    exact: bool
    """Whether it computes in float32 from the student's own weights: then its logits must equal the student's."""
    about: str
    """For the card."""


def write_model(wanted: Format, student: Path, folder: Path, facts: Facts) -> None:
    """Write model, configuration and tokenizer into an empty folder."""
    config: dict[str, Any] = json.loads((student / "config.json").read_text())
    if facts.classes:
        config["id2label"] = {str(i): name for i, name in enumerate(facts.classes)}
        config["label2id"] = {name: i for i, name in enumerate(facts.classes)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    _write_tokenizer(student, folder, facts)
    wanted.write(student, folder)


def max_tokens(facts: Facts) -> int:
    """Return the length at which the student's texts were cut."""
    return int(facts.spec["training"]["max_tokens"])


def _write_tokenizer(student: Path, folder: Path, facts: Facts) -> None:
    """Copy the tokenizer's files and name the length at which texts are cut; `tokenizer.json` is whole by itself."""
    for path in student.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name != "config.json":
            shutil.copyfile(path, folder / path.name)
    with quiet():
        AutoTokenizer.from_pretrained(student, trust_remote_code=False).backend_tokenizer.save(
            str(folder / "tokenizer.json")
        )
    settings = folder / "tokenizer_config.json"
    tokenizer = json.loads(settings.read_text()) if settings.is_file() else {}
    tokenizer["model_max_length"] = max_tokens(facts)
    settings.write_text(json.dumps(tokenizer, indent=2) + "\n")


def _copy_weights(student: Path, folder: Path) -> None:
    for path in student.glob("*.safetensors*"):
        shutil.copyfile(path, folder / path.name)


def _half_weights(student: Path, folder: Path) -> None:
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(student / _WEIGHTS).items()
    }
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": "float16"}, indent=2) + "\n")


def _graph(student: Path, folder: Path) -> None:
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(student, **SAFE)
        names = AutoTokenizer.from_pretrained(student, trust_remote_code=False).model_input_names
    segments = "token_type_ids" in names and family_of(model.config.model_type, str(student)).token_types
    write_graph(model, segments, folder / GRAPH)


def _quantised(student: Path, folder: Path) -> None:
    _graph(student, folder)
    exact = folder / f"exact-{GRAPH}"
    (folder / GRAPH).rename(exact)
    write_quantised(exact, folder / GRAPH)
    exact.unlink()


FORMATS: Mapping[str, Format] = {
    "hf": Format(_copy_weights, exact=True, about="safetensors in float32"),
    "hf-fp16": Format(_half_weights, exact=False, about="safetensors in float16, half the size; computed in float32"),
    "onnx": Format(_graph, exact=True, about="an ONNX graph in float32"),
    "onnx-int8": Format(
        _quantised, exact=False, about="an ONNX graph with int8 weights, activations quantised as they come"
    ),
}

"""A BERT encoder out of an ONNX graph: its initialisers under the names a Hugging Face folder has."""

import json
import shutil
from pathlib import Path

import numpy as np

from limbeck.errors import Problem, UserError

_PREFIX = "model.0.auto_model."


def write_encoder(graph: Path, sibling: Path, layers: int, folder: Path) -> None:
    """Write a Hugging Face folder with the graph's weights; config and tokenizer are those of `sibling`, but for depth.

    The exporter keeps names of biases and embeddings but folds each linear layer's weight into an anonymous (in, out)
    matrix; the name of the MatMul that reads it tells whose it is.
    """
    try:
        import onnx
    except ImportError:
        raise UserError(Problem("model", "this model is unpacked with `onnx`; pip install 'limbeck[onnx]'")) from None
    from safetensors.numpy import save_file

    model = onnx.load(str(graph))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {name.removeprefix(_PREFIX): array for name, array in stored.items() if name.startswith(_PREFIX)}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            owner = node.name.removeprefix("/model/model.0/auto_model/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{owner}.weight"] = np.ascontiguousarray(stored[node.input[1]].T)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((sibling / "config.json").read_text())
    config["num_hidden_layers"] = layers
    del config["_name_or_path"]
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    for name in ("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copyfile(sibling / name, folder / name)

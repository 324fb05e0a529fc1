"""Graphs of every family: equal to torch for any batch and length, and the model is left as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from limbeck.models.families import FAMILIES
from limbeck.onnx_graph import write_graph, write_quantised

SIZES: dict[str, Any] = {"vocab_size": 60, "max_position_embeddings": 64, "num_labels": 3, "initializer_range": 0.3}
BERT: dict[str, Any] = {
    **SIZES,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
CONFIGS = {
    "bert": BertConfig(**BERT),
    "camembert": CamembertConfig(**BERT),
    "distilbert": DistilBertConfig(**SIZES, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "electra": ElectraConfig(**BERT, embedding_size=8),
    "mpnet": MPNetConfig(**BERT),
    "roberta": RobertaConfig(**BERT),
    "xlm-roberta": XLMRobertaConfig(**BERT),
}


def test_every_supported_family_is_tried() -> None:
    assert CONFIGS.keys() == FAMILIES.keys()


def feed(config: Any, rows: int, tokens: int, segments: bool) -> dict[str, np.ndarray]:
    """Random ids, the last row half pads."""
    draw = np.random.default_rng(rows)
    ids, mask = draw.integers(5, 60, (rows, tokens)), np.ones((rows, tokens), np.int64)
    if rows > 1:
        mask[-1, tokens // 2 :] = 0
        ids[mask == 0] = config.pad_token_id or 0
    out = {"input_ids": ids, "attention_mask": mask}
    return {**out, "token_type_ids": draw.integers(0, config.type_vocab_size, ids.shape)} if segments else out


@pytest.mark.parametrize("name", CONFIGS)
def test_a_graph_equals_torch_for_any_batch_and_length(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config).eval()
    segments = FAMILIES[name].token_types
    write_graph(model, segments, tmp_path / "exact.onnx")
    write_quantised(tmp_path / "exact.onnx", tmp_path / "eight.onnx")
    exact, eight = (onnxruntime.InferenceSession(str(tmp_path / f"{kind}.onnx")) for kind in ("exact", "eight"))
    for rows, tokens in ((1, 3), (2, 8), (4, 17), (3, 40)):
        given = feed(config, rows, tokens, segments)
        with torch.no_grad():
            wanted = model(**{key: torch.from_numpy(value) for key, value in given.items()}).logits.numpy()
        np.testing.assert_allclose(exact.run(None, given)[0], wanted, atol=1e-5)
        # Eight bits lose something, or they would not be eight bits; but not much.
        assert 1e-6 < np.abs(eight.run(None, given)[0] - wanted).max() < 0.3


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"]).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    write_graph(model, True, tmp_path / "graph.onnx")
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

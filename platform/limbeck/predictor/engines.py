"""What computes logits from a batch: torch on a Hugging Face folder, ONNX Runtime on a graph."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from limbeck.errors import Problem, UserError
from limbeck.manifest import TEXT_COLUMNS, read_manifest
from limbeck.predictor.tokens import Batch, TextReader

GRAPH = "model.onnx"
LONGEST_TOKENS = 512
_IDS = "token_type_ids"


class Engine(Protocol):
    """A loaded model."""

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Return (B, C) logits of (B, n) ids and mask."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A model's folder, read."""

    engine: Engine
    reader: TextReader
    classes: tuple[str, ...]
    """In the order of the logits; empty for regression."""
    outputs: int
    runtime: str
    parameters: int | None
    """None where the folder does not say."""
    columns: int | None
    """Texts that make a row; None where the folder does not say."""


def load(folder: Path, max_tokens: int | None, threads: int | None, spin: bool) -> Loaded:
    """Load a folder of either kind. UserError: there is no model in it, or one that cannot be loaded.

    `threads` is set for the whole process where torch computes. ONNX Runtime's wait busily for work if `spin`.
    """
    if not (folder / "config.json").is_file():
        raise UserError(Problem(str(folder), "holds no model (no config.json); give the folder of an export"))
    if (folder / GRAPH).is_file():
        return _load_graph(folder, max_tokens, threads, spin)
    return _load_hub(folder, max_tokens, threads)


def _load_hub(folder: Path, max_tokens: int | None, threads: int | None) -> Loaded:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

    from limbeck.models.loading import SAFE, quiet

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_pretrained(folder, **SAFE).eval()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(Problem(str(folder), f"cannot be loaded as a text classifier: {error}")) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(Problem(str(folder), "its tokenizer is written in Python; only those of `tokenizers` are read"))

    if threads is not None:
        torch.set_num_threads(threads)

    def engine(batch: Batch) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = model(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits
        out: NDArray[np.float32] = logits.float().cpu().numpy()
        return out

    # Tokenizers without a limit carry a sentinel far beyond any model's positions.
    most = max_tokens or min(int(tokenizer.model_max_length), LONGEST_TOKENS)
    reader = TextReader(
        tokenizer.backend_tokenizer, most, int(tokenizer.pad_token_id or 0), _IDS in tokenizer.model_input_names
    )
    size = sum(p.numel() for p in model.parameters())
    names = {int(i): str(name) for i, name in model.config.id2label.items()}
    classes = _classes(names, model.config.num_labels)
    runtime = f"torch {torch.__version__}"
    return Loaded(engine, reader, classes, model.config.num_labels, runtime, size, _columns(folder))


def _load_graph(folder: Path, max_tokens: int | None, threads: int | None, spin: bool) -> Loaded:
    """Load a graph with ONNX Runtime and `tokenizers` alone: neither torch nor transformers is imported."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError(Problem(str(folder), "is read with ONNX Runtime; pip install 'limbeck[onnx]'")) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    try:
        session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = json.loads((folder / "config.json").read_text())
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        names = {int(i): str(name) for i, name in config["id2label"].items()}
    except Exception as error:
        # Both libraries raise what they please.
        raise UserError(Problem(str(folder), f"cannot be loaded as a text classifier: {error}")) from error
    wanted = [one.name for one in session.get_inputs()]

    def engine(batch: Batch) -> NDArray[np.float32]:
        out: NDArray[np.float32] = session.run(None, {name: batch[name] for name in wanted})[0]
        return out

    most = max_tokens or min(int(settings.get("model_max_length", LONGEST_TOKENS)), LONGEST_TOKENS)
    reader = TextReader(backend, most, int(config.get("pad_token_id") or 0), _IDS in wanted)
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return Loaded(
        engine, reader, _classes(names, len(names)), len(names), runtime, _parameters(folder), _columns(folder)
    )


def _columns(folder: Path) -> int | None:
    manifest, settings = read_manifest(folder) or {}, folder / "tokenizer_config.json"
    noted = json.loads(settings.read_text()) if settings.is_file() else {}
    known: Any = manifest.get("task", {}).get(TEXT_COLUMNS) or noted.get(TEXT_COLUMNS)
    return int(known) if known in (1, 2) else None


def _parameters(folder: Path) -> int | None:
    known: Any = (read_manifest(folder) or {}).get("metrics", {}).get("parameters")
    return None if known is None else int(known)


def _classes(names: dict[int, str], outputs: int) -> tuple[str, ...]:
    return () if outputs == 1 else tuple(names[i] for i in range(outputs))

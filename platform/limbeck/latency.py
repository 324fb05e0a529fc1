"""How long one answer takes: measured, on the machine at hand."""

import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.encoding import Batch, Encoded, Vocabulary, collate, to_device
from limbeck.models import HubClassifier
from limbeck.onnx_graph import write_graph
from limbeck.timing import BATCHES, by_batch, call_ms

WARM_UP, REPEATS = 3, 20
RECENT_SECONDS = 60.0
"""How long a measurement speaks for students of the same build that end in the same process."""
_recent: dict[tuple[Any, ...], tuple[float, dict[str, float]]] = {}
Clock = Callable[[], float]
OfSize = Callable[[int], Batch]


def recent_latency_ms(
    classifier: HubClassifier,
    split: Encoded,
    vocabulary: Vocabulary,
    device: torch.device,
    *,
    graph: bool = False,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """What `latency_ms` measured less than a minute ago, or measures now; `latency_ms/age_seconds` says how long ago.

    A measurement serves students that differ in nothing but their weights, in this process, with as many threads, on
    texts of the same lengths.
    """
    config = json.dumps(classifier.model.config.to_dict(), sort_keys=True, default=str)
    lengths = tuple(split.lengths[_middle(split)][: max(BATCHES)])
    build = (config, lengths, str(device), torch.get_num_threads(), graph)
    now = clock()
    measured, found = _recent.get(build, (-math.inf, {}))
    if now - measured > RECENT_SECONDS:
        found = latency_ms(classifier, split, vocabulary, device, graph=graph, clock=clock)
        now = measured = clock()
        _recent[build] = measured, found
    return {**found, "latency_ms/age_seconds": now - measured}


def _middle(split: Encoded) -> np.ndarray:
    """Rows of median length, and after them longer ones."""
    return np.argsort(split.lengths, kind="stable")[len(split) // 2 :]


@torch.no_grad()
def latency_ms(
    classifier: HubClassifier,
    split: Encoded,
    vocabulary: Vocabulary,
    device: torch.device,
    *,
    graph: bool = False,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Milliseconds a batch of 1 and of 32 rows takes in float32: the median and the 95th percentile of 20 calls.

    Rows are those of median length, so that students are compared on the same work. `latency_ms` is the median of
    batch 1 in torch; with `graph` ONNX Runtime is measured, too, on the processor. `threads` are torch's and ONNX
    Runtime's. Other work on the machine shows in the numbers: compare what was measured side by side.
    """
    middle = _middle(split)

    def of_size(size: int) -> Batch:
        return collate(split, np.resize(middle[:size], size), vocabulary, np.zeros((len(split), 1), np.float32))

    found = _in_torch(classifier, lambda size: to_device(of_size(size), device), clock)
    found["latency_ms"] = found["latency_ms/batch1/p50"]
    found["threads"] = float(torch.get_num_threads())
    return found | _in_onnx_runtime(classifier, of_size, clock) if graph else found


def _in_torch(classifier: HubClassifier, of_size: OfSize, clock: Clock) -> dict[str, float]:
    def one(size: int) -> dict[str, float]:
        batch = of_size(size)

        def answer() -> None:
            # With all hidden states its last layer is whole, as it is for whoever loads the student's folder.
            logits = classifier(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                token_type_ids=batch.token_type_ids,
                hidden=True,
            ).logits
            logits.sum().item()  # waits for the device

        return call_ms(answer, REPEATS, WARM_UP, clock)

    was_training = classifier.training
    classifier.eval()
    try:
        return {f"latency_ms/{name}": value for name, value in by_batch(one).items()}
    finally:
        classifier.train(was_training)


def _in_onnx_runtime(classifier: HubClassifier, of_size: OfSize, clock: Clock) -> dict[str, float]:
    """Write the classifier as a graph, and measure that."""
    segments = classifier.family.token_types and of_size(1).token_type_ids is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_graph(classifier.model, segments, path)
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def one(size: int) -> dict[str, float]:
        batch = of_size(size)
        feed = {"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()}
        if segments and batch.token_type_ids is not None:
            feed["token_type_ids"] = batch.token_type_ids.numpy()
        return call_ms(lambda: session.run(None, feed), REPEATS, WARM_UP, clock)

    return {f"latency_ms/onnx/{name}": value for name, value in by_batch(one).items()}

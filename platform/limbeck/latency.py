"""How long one answer takes: measured, on the machine at hand."""

import time
from collections.abc import Callable

import numpy as np
import torch

from limbeck.encoding import Encoded, Vocabulary, collate, to_device
from limbeck.models import Classifier
from limbeck.timing import by_batch, call_ms

WARM_UP, REPEATS = 3, 20


@torch.no_grad()
def latency_ms(
    classifier: Classifier,
    split: Encoded,
    vocabulary: Vocabulary,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Milliseconds a batch of 1 and of 32 rows takes in float32: the median and the 95th percentile of 20 calls.

    Rows are those of median length, so that students are compared on the same work. `latency_ms` is the median of
    batch 1. Other work on the machine shows in the numbers: compare what was measured side by side.
    """
    middle = np.argsort(split.lengths, kind="stable")[len(split) // 2 :]

    def one(size: int) -> dict[str, float]:
        rows = np.resize(middle[:size], size)
        batch = to_device(collate(split, rows, vocabulary, np.zeros((len(split), 1), np.float32)), device)

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
        found = {f"latency_ms/{name}": value for name, value in by_batch(one).items()}
    finally:
        classifier.train(was_training)
    return {"latency_ms": found["latency_ms/batch1/p50"], **found}

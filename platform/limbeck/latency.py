"""How long one answer takes: measured, on the machine at hand."""

import time
from collections.abc import Callable

import numpy as np
import torch

from limbeck.encoding import Encoded, Vocabulary, collate, to_device
from limbeck.models import Classifier

BATCHES = (1, 32)
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
    out: dict[str, float] = {}
    was_training = classifier.training
    classifier.eval()
    try:
        for size in BATCHES:
            rows = np.resize(middle[:size], size)
            batch = to_device(collate(split, rows, vocabulary, np.zeros((len(split), 1), np.float32)), device)
            times = []
            for _ in range(WARM_UP + REPEATS):
                started = clock()
                # With all hidden states its last layer is whole, as it is for whoever loads the student's folder.
                out_logits = classifier(
                    input_ids=batch.input_ids,
                    attention_mask=batch.attention_mask,
                    token_type_ids=batch.token_type_ids,
                    hidden=True,
                ).logits
                out_logits.sum().item()  # waits for the device
                times.append(1000 * (clock() - started))
            kept = times[WARM_UP:]
            out[f"latency_ms/batch{size}/p50"] = float(np.percentile(kept, 50))
            out[f"latency_ms/batch{size}/p95"] = float(np.percentile(kept, 95))
    finally:
        classifier.train(was_training)
    return {"latency_ms": out["latency_ms/batch1/p50"], **out}

"""Run a classifier over a split."""

import numpy as np
import torch

from limbeck.encoding import Encoded, Vocabulary, by_length, collate, to_device
from limbeck.models import Classifier
from limbeck.optimise import autocast

BATCH_TOKENS = 4096


@torch.no_grad()
def logits_over(
    classifier: Classifier, split: Encoded, vocabulary: Vocabulary, precision: str, device: torch.device
) -> np.ndarray:
    """(N, C) float32 logits in row order. Rows of similar length share a batch; dropout is off meanwhile."""
    blank = np.zeros((len(split), 1), np.float32)
    parts: list[np.ndarray] = []
    order: list[np.ndarray] = []
    was_training = classifier.training
    classifier.eval()
    try:
        for rows in by_length(split, BATCH_TOKENS):
            batch = to_device(collate(split, rows, vocabulary, blank), device)
            with autocast(precision, device):
                out = classifier(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
                )
            parts.append(out.logits.float().cpu().numpy())
            order.append(rows)
    finally:
        classifier.train(was_training)
    logits = np.concatenate(parts)
    back = np.empty_like(logits)
    back[np.concatenate(order)] = logits
    return back

"""What a method's invented inputs are like: shares, flips, divergence, diversity, and pairs to look at."""

from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from limbeck.encoding import Batch
from limbeck.methods.base import Invented
from limbeck.metrics import agreement, probabilities

PAIRS = 20
"""Pairs of original and invented text kept at each evaluation."""
COLLAPSE_SHARE = 0.2
"""Alarm when one token fills more than this share of the changed places: English's commonest word stays far below."""


def diagnose(batch: Batch, student_logits: np.ndarray, invented: Invented) -> dict[str, float]:
    """Metrics of the invented inputs of one batch; `student_logits` (B, C) are the student's on the originals.

    replaced_share  tokens that differ from the original / real tokens
    same_share      changed places where the original token came back / changed places
    top_token_share places of the commonest invented token / changed places; `collapsed` is 1 above COLLAPSE_SHARE
    distinct_share  different tokens / changed places
    flip_rate       inputs whose class the teacher changes its mind about (classification only)
    divergence_before, divergence_after   mean KL(teacher‖student), nats, on originals and on invented inputs
    perplexity      of the invented tokens under the generator as first fitted
    """
    teacher = batch.teacher_logits.cpu().numpy()
    other_teacher, other_student = (_numpy(x) for x in (invented.teacher_logits, invented.student_logits))
    changed = _numpy(invented.changed).astype(bool)
    old, new = _numpy(batch.input_ids)[changed], _numpy(invented.input_ids)[changed]
    places = max(1, len(new))
    counts = np.unique(new, return_counts=True)[1]
    top = float(counts.max() / places) if len(counts) else 0.0
    out = {
        "replaced_share": float((old != new).sum() / max(1, int(batch.attention_mask.sum()))),
        "same_share": float((old == new).sum() / places),
        "top_token_share": top,
        "distinct_share": float(len(counts) / places),
        "collapsed": float(top > COLLAPSE_SHARE and bool((old != new).any())),
    }
    if teacher.shape[1] > 1:
        out["flip_rate"] = float((teacher.argmax(1) != other_teacher.argmax(1)).mean())
        out["divergence_before"] = agreement(student_logits, teacher)[1]
        out["divergence_after"] = agreement(other_student, other_teacher)[1]
    else:
        out["divergence_before"] = float(((student_logits - teacher) ** 2).mean())
        out["divergence_after"] = float(((other_student - other_teacher) ** 2).mean())
    if invented.perplexity is not None:
        out["perplexity"] = float(invented.perplexity)
    return {f"invented/{name}": value for name, value in out.items()}


def pairs(
    batch: Batch, student_logits: np.ndarray, invented: Invented, tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, Any]]:
    """The first PAIRS inputs as lists of tokens, which of them changed, and the probabilities of both networks."""
    before = [probabilities(x) for x in (batch.teacher_logits.cpu().numpy(), student_logits)]
    after = [probabilities(_numpy(x)) for x in (invented.teacher_logits, invented.student_logits)]
    rows = []
    for i in range(min(PAIRS, len(batch))):
        real = _numpy(batch.attention_mask)[i].astype(bool)
        tokens = [
            tokenizer.convert_ids_to_tokens(_numpy(ids)[i][real].tolist())
            for ids in (batch.input_ids, invented.input_ids)
        ]
        rows.append(
            {
                "original": tokens[0],
                "invented": tokens[1],
                "changed": np.flatnonzero(_numpy(invented.changed)[i][real]).tolist(),
                "teacher_before": before[0][i].round(4).tolist(),
                "student_before": before[1][i].round(4).tolist(),
                "teacher_after": after[0][i].round(4).tolist(),
                "student_after": after[1][i].round(4).tolist(),
            }
        )
    return rows


def _numpy(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().float().cpu().numpy() if x.is_floating_point() else x.cpu().numpy()
    return array

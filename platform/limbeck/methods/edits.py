"""Text edits without synonyms, on tokens: swap, delete, insert.

*Source* EDA, Wei and Zou 2019, arXiv 1901.11196, section 2, operations RS, RD and RI.
*Differs from the source* 1. Units are word pieces. 2. What is inserted is a token of the same text, as there is no
thesaurus; synonym replacement is left out for the same reason.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.encoding import Batch, Vocabulary
from limbeck.noise import RowNoise

OPERATIONS = ("swap", "delete", "insert")


@dataclass(frozen=True)
class Edited:
    """Edited inputs, (B, n′) each with n′ >= n."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor | None


def edit_row(tokens: list[int], free: list[int], share: float, draws: np.ndarray) -> tuple[list[int], list[int]]:
    """Edit one row; returns its tokens and, for each, the place it came from.

    `free` lists the places that may change; max(1, round(share·len(free))) edits of one kind are made; `draws` is an
    endless enough supply of U[0, 1).
    """
    places = list(range(len(tokens)))
    if not free:
        return list(tokens), places
    out, supply = list(tokens), iter(draws.tolist())
    operation = OPERATIONS[int(next(supply) * len(OPERATIONS))]
    for _ in range(max(1, round(share * len(free)))):
        first, second = (free[int(next(supply) * len(free))] for _ in range(2))
        if operation == "swap":
            i, j = (min(k, len(out) - 1) for k in (first, second))
            out[i], out[j] = out[j], out[i]
        elif operation == "delete" and len(free) > 1:
            gone = free.index(first)
            del out[first], places[first]
            free = [k - (k > first) for k in free[:gone] + free[gone + 1 :]]
        elif operation == "insert":
            out.insert(first + 1, out[second])
            places.insert(first + 1, places[first])
            free = sorted([k + (k > first) for k in free] + [first + 1])
    return out, places


def edit(batch: Batch, share: float, vocabulary: Vocabulary, noise: RowNoise) -> Edited:
    """Edit every row of a batch, then pad to the longest."""
    n = batch.input_ids.shape[1]
    draws = noise.uniform(1 + 2 * (n + 1)).cpu().numpy()
    rows = []
    for ids, real, free, supply in zip(
        batch.input_ids.tolist(), batch.attention_mask.sum(1).tolist(), batch.maskable.tolist(), draws, strict=True
    ):
        rows.append(edit_row(ids[:real], [i for i, ok in enumerate(free) if ok], share, supply))
    width = max(n, max(len(tokens) for tokens, _ in rows))
    shape, device = (len(rows), width), batch.input_ids.device
    ids, mask = torch.full(shape, vocabulary.pad), torch.zeros(shape, dtype=torch.long)
    types = None if batch.token_type_ids is None else torch.zeros(shape, dtype=torch.long)
    for i, (tokens, places) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
        if types is not None and batch.token_type_ids is not None:
            types[i, : len(places)] = batch.token_type_ids[i, places].cpu()
    return Edited(ids.to(device), mask.to(device), None if types is None else types.to(device))

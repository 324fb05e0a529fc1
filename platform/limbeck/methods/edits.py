"""Text edits without synonyms, on tokens: swap, delete, insert.

*Source* EDA, Wei and Zou 2019, arXiv 1901.11196, section 2, operations RS, RD and RI.
*Differs from the source*: see docs/methods/eda.md, which numbers every difference.
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


def edit_row(
    tokens: list[int], free: list[int], share: float, draws: np.ndarray, longest: int
) -> tuple[list[int], list[int]]:
    """Edit one row; returns its tokens and, for each, the place it came from.

    `free` lists the places that may change; max(1, round(share·len(free))) edits of one kind are made; `draws` holds
    1 + 2·edits numbers of U[0, 1): one for the kind, then two an edit. One free token is never deleted, and a row of
    `longest` tokens does not grow.
    """
    out, places, free = list(tokens), list(range(len(tokens))), list(free)
    if not free:
        return out, places
    supply = iter(draws.tolist())
    operation = OPERATIONS[int(next(supply) * len(OPERATIONS))]
    for _ in range(max(1, round(share * len(free)))):
        number, draw = int(next(supply) * len(free)), next(supply)
        place = free[number]
        if operation == "swap":
            other = free[(number + 1 + int(draw * (len(free) - 1))) % len(free)]
            out[place], out[other] = out[other], out[place]
        elif operation == "delete" and len(free) > 1:
            del out[place], places[place]
            free = [k - (k > place) for k in free if k != place]
        elif operation == "insert" and len(out) < longest:
            out.insert(place + 1, out[free[int(draw * len(free))]])
            places.insert(place + 1, places[place])
            free = sorted([k + (k > place) for k in free] + [place + 1])
    return out, places


def edit(batch: Batch, share: float, vocabulary: Vocabulary, noise: RowNoise, longest: int) -> Edited:
    """Edit every row of a batch, none to more than `longest` tokens, then pad to the longest."""
    here, device, n = batch.here, batch.input_ids.device, batch.input_ids.shape[1]
    draws = noise.uniform(1 + 2 * (n + 1)).numpy()
    rows = []
    for ids, real, free, supply in zip(
        here.input_ids.tolist(), here.attention_mask.sum(1).tolist(), here.maskable.tolist(), draws, strict=True
    ):
        rows.append(edit_row(ids[:real], [i for i, ok in enumerate(free) if ok], share, supply, longest))
    width = max(n, max(len(tokens) for tokens, _ in rows))
    shape = (len(rows), width)
    ids, mask = torch.full(shape, vocabulary.pad), torch.zeros(shape, dtype=torch.long)
    types = None if here.token_type_ids is None else torch.zeros(shape, dtype=torch.long)
    for i, (tokens, places) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
        if types is not None and here.token_type_ids is not None:
            types[i, : len(places)] = here.token_type_ids[i, places]
    return Edited(ids.to(device), mask.to(device), None if types is None else types.to(device))

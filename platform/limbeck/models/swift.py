"""Dropout and attention as a processor does them quickly; on a GPU the library's own are quick already.

torch draws dropout's bits one by one in one thread. Where there is dropout its attention for processors falls back to
float32 and to small products, and in bfloat16 it goes backward slowly. Figures are in docs/performance.md.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "limbeck"
_BITS = 16


def quicken(model: "PreTrainedModel") -> None:
    """Put the dropout and the attention of this module into a model, where it is of a kind that takes them."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, _mask)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Dropout):
            model.set_submodule(name, Dropout(module.p).train(module.training))
    # A family that writes its attention itself (MPNet) keeps it.
    if model.config._attn_implementation == "sdpa":
        model.config._attn_implementation = _NAME


def _mask(*, attention_mask: Tensor | None = None, **others: Any) -> Tensor | None:
    """The library's (B, 1, n, n) bool mask, without asking a GPU whether there are pads: it would be waited for."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is not None and attention_mask.device.type != "cpu":
        others["allow_is_bidirectional_skip"] = False
    mask: Tensor | None = sdpa_mask(attention_mask=attention_mask, **others)
    return mask


class Dropout(nn.Module):
    """Zero each number with probability `p`, to 16 bits, and scale the others up, while training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the bits follow torch's global generator."""
        return dropped(x, self.p) if self.training else x


def dropped(x: Tensor, p: float) -> Tensor:
    """Zero each number of `x` with probability `p` and scale the others up."""
    if p == 0 or x.device.type != "cpu":
        return F.dropout(x, p)
    out: Tensor = _Dropped.apply(x, _kept(x, p), 1 / (1 - p))  # type: ignore[no-untyped-call]
    return out


class _Dropped(torch.autograd.Function):
    """x · kept · scale, of which a byte a number waits for the backward pass and not a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return kept.to(x.dtype).mul_(x).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(grad.dtype).mul_(grad).mul_(ctx.scale), None, None


def _kept(x: Tensor, p: float) -> Tensor:
    """Bytes, zero or one, of the shape of `x`."""
    per_draw = 64 // _BITS
    seed = int(torch.randint(2**62, ()))
    bits = np.random.SFC64(seed).random_raw(-(-x.numel() // per_draw)).view(np.uint16)[: x.numel()]
    # NumPy compares ten times as fast as torch, and torch converts bytes faster than truth values.
    kept = np.greater_equal(bits, np.uint16(min(round(p * 2**_BITS), 2**_BITS - 1))).view(np.uint8)
    return torch.from_numpy(kept).view(x.shape)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of an encoder: (B, h, n, d) three times -> (B, n, h, d). The mask is (B, 1, n, n) bool."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if query.device.type != "cpu" or (dropout == 0 and query.dtype == torch.float32):
        out: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return out
    scores = query @ key.transpose(-1, -2)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is None:
        weights = torch.softmax(scores * scale, -1)
    else:
        # What a query may look at are its row's real tokens: the same for every query.
        hidden = ~attention_mask[:, :, :1]
        bar = torch.zeros(hidden.shape, dtype=scores.dtype).masked_fill_(hidden, torch.finfo(scores.dtype).min)
        weights = torch.softmax(torch.add(bar, scores, alpha=scale), -1)
    mixed = (dropped(weights, dropout) if dropout else weights) @ value
    return mixed.transpose(1, 2).contiguous(), None

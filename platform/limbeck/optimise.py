"""One optimiser step: gradients of one phase's module alone, averaged over workers, clipped, scheduled."""

import contextlib
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from limbeck.rowwise import RowwiseAdamW, gathered


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context that forward passes run in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def native_precision(device: torch.device) -> str:
    """`bf16` where the processor or GPU multiplies bf16 natively, else `fp32`."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # The only public question torch answers about bf16 on processors is whether oneDNN supports it at all, which it
    # says of emulation too; the instruction set decides.
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def warmup_decay(done: float, warmup: float) -> float:
    """The share of the full rate when `done` of the training is behind: linear rise until `warmup`, then fall to 0."""
    if done < warmup:
        return done / warmup
    return max(0.0, (1 - done) / (1 - warmup)) if warmup < 1 else 1.0


class Optimiser:
    """AdamW over one module's parameters, with its clipping and schedule."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.adam = RowwiseAdamW(groups, lr=learning_rate, fused=True)
        self._rate = learning_rate
        self._clip_norm = clip_norm

    def step(self, total: Tensor, average: Callable[[Sequence[Tensor]], None], rate_share: float = 1.0) -> Tensor:
        """Move the parameters against the gradient of `total` at `rate_share` of the learning rate.

        Returns the gradient's norm before clipping.

        Only this module's gradients are computed: nothing else's `.grad` is touched.
        """
        grads = torch.autograd.grad(total, self.parameters, allow_unused=True)
        numbers = []
        for parameter, grad in zip(self.parameters, grads, strict=True):
            if grad is None:
                grad = torch.zeros_like(parameter)
            parameter.grad = gathered(grad) if grad.is_sparse else grad
            numbers.append(parameter.grad.values() if grad.is_sparse else grad)
        average(numbers)
        norm = nn.utils.get_total_norm(numbers)
        # As torch's clipping does it, which looks for dense gradients: on a GPU all of them at once.
        torch._foreach_mul_(numbers, torch.clamp(self._clip_norm / (norm + 1e-6), max=1.0))
        for group in self.adam.param_groups:
            group["lr"] = self._rate * rate_share
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm

"""AdamW that keeps moments for those rows of a table alone that ever had a gradient.

A batch reads some hundred of a vocabulary's thirty thousand words, and two thirds of a small student's parameters are
its word table. Rows that no batch has read have moments of zero and do nothing but decay.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_ROWS_AT_A_TIME = 1024
"""What fits a processor's cache: rows, their gradients and both moments."""


def gathered(grad: Tensor) -> Tensor:
    """A table's sparse gradient (V, d) with each row once, ascending.

    Equal rows are added in the order of the batch, as the dense gradient adds them: to the last bit the same numbers.
    `Tensor.coalesce` adds them in another.
    """
    rows, line = grad._indices()[0].unique(return_inverse=True)  # type: ignore[no-untyped-call]
    values = grad.new_zeros(len(rows), grad.shape[1], layout=torch.strided).index_add_(0, line, grad._values())
    return torch.sparse_coo_tensor(rows[None], values, grad.shape, is_coalesced=True, check_invariants=False)


class RowwiseAdamW(torch.optim.AdamW):
    """torch's AdamW, which also moves tables (V, d) whose gradient is sparse, as `gathered` gives it.

    The numbers are those that the dense gradient would give: rows that had a gradient before move by their momentum,
    all rows decay. A table whose gradient is dense once stays with torch's own step from then on.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; those of tables are dropped as they are used."""
        for group in self.param_groups:
            for table in group["params"]:
                grad, state = table.grad, self.state[table]
                if grad is None:
                    continue
                if grad.is_sparse and ("rows" in state or not state):
                    self._move_rows(table, grad, group)
                    table.grad = None
                elif grad.is_sparse or "rows" in state:
                    _fill_up(table, state)
        super().step(closure)

    def _move_rows(self, table: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            none = table.new_zeros(0, table.shape[1])
            state.update(step=torch.zeros(()), rows=torch.empty(0), exp_avg=none, exp_avg_sq=none)
        # Loading a state makes all that is in it of the table's type; float32 holds the number of any row exactly.
        known, read = state["rows"].long(), grad.indices()[0]
        place = torch.full((len(table),), -1)
        place[known] = torch.arange(len(known))
        rows = state["rows"] = torch.cat([known, read[place[read] < 0]])
        place[rows] = torch.arange(len(rows))
        _make_room(state, len(rows))
        places, order = place[read].sort()
        values = grad.values()[order]
        table.mul_(1 - group["lr"] * group["weight_decay"])
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            end = min(start + _ROWS_AT_A_TIME, len(rows))
            first, last = torch.searchsorted(places, torch.tensor([start, end])).tolist()
            moved = table[rows[start:end]]
            slope = torch.zeros_like(moved).index_copy_(0, places[first:last] - start, values[first:last])
            adamw(
                [moved],
                [slope],
                [state["exp_avg"][start:end]],
                [state["exp_avg_sq"][start:end]],
                [],
                [state["step"].clone()],
                fused=True,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
            table.index_copy_(0, rows[start:end], moved)
        state["step"] += 1


def _make_room(state: dict[str, Any], rows: int) -> None:
    """Let the moments hold so many rows, by steps, so that few of them copy."""
    held, width = state["exp_avg"].shape
    if (missing := rows - held) > 0:
        more = -(-missing // _ROWS_AT_A_TIME) * _ROWS_AT_A_TIME
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.cat([state[name], state[name].new_zeros(more, width)])


def _fill_up(table: Tensor, state: dict[str, Any]) -> None:
    """Give a table's state and gradient the form that torch's own step takes."""
    assert table.grad is not None
    table.grad = table.grad.to_dense()
    if (rows := state.pop("rows", None)) is not None:
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.zeros_like(table).index_copy_(0, rows.long(), state[name][: len(rows)])

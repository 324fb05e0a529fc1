"""Gradients are averaged over workers: small ones together, of tables what is not zero."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.cluster import averaging

PLATFORM = Path(averaging.__file__).parents[2]
CODE = """
import sys
import torch
import torch.distributed as dist
from limbeck.cluster import averaging

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
sent = []
reduce = dist.all_reduce
def counted(tensor, *more, **named):
    sent.append(tensor.numel())
    return reduce(tensor, *more, **named)
dist.all_reduce = counted
draw = torch.Generator().manual_seed(rank)
words = torch.zeros(5000, 3)
words[torch.arange(7) * (rank + 1)] = torch.randn(7, 3, generator=draw)
full = torch.randn(5000, 2, generator=draw)
broken = torch.zeros(5000, 2)
broken[11 + rank] = float("nan")
none = torch.zeros(4096, 2)
given = [torch.randn(4, generator=draw), words, full, broken, torch.randn(2, 2, generator=draw).double(), none]
before = [tensor.clone() for tensor in given]
averaging.average(given)
torch.save({"before": before, "after": given, "sent": sent}, f"{out}/{rank}.pt")
dist.destroy_process_group()
"""


def test_workers_get_the_mean_and_zeros_of_tables_stay_at_home(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), str(tmp_path)], env={"PYTHONPATH": str(PLATFORM)}
        )
        for rank in (0, 1)
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for a, b, mean, same in zip(one["before"], two["before"], one["after"], two["after"], strict=True):
        torch.testing.assert_close(mean, (a + b) / 2, equal_nan=True, rtol=1e-6, atol=0)
        torch.testing.assert_close(mean, same, equal_nan=True, rtol=0, atol=0)
    # The words that either has: 0 to 6, and 8, 10, 12; the broken rows 11 and 12; the full table whole.
    rows, others = [5000, 5000, 5000, 4096], [4 + 10 * 3 + 10000 + 2 * 2, 4, 0]
    assert one["sent"] == rows + others


def test_tensors_travel_in_groups_of_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "_BUCKET_BYTES", 16)
    a, b, c = torch.zeros(2), torch.zeros(2), torch.zeros(1)
    d = torch.zeros(1, dtype=torch.float64)
    e = torch.zeros(100)
    assert [[len(t) for t in g] for g in averaging._buckets([a, b, c, d, e])] == [[2, 2], [1], [1], [100]]

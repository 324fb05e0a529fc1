"""Print what two workers that train one student keep of their speed: batches of 32 each, gradients averaged.

Not part of the test suite: `python tests/benchmarks/bench_workers.py`. A worker is a process with one thread (with
`--device cuda` a GPU of its own) that takes steps of MATE-KD on rows of its own. Efficiency is the time of a step alone
over that of a step in a pair. Beside it stands what two processes keep that average nothing: they share the machine's
memory and caches, which no way of averaging can mend.
"""

import argparse
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from setting import seconds, setting
from step_forms import Average, Product
from torch import Tensor, multiprocessing

from limbeck.cluster.averaging import average
from limbeck.encoding import Order
from limbeck.memory import few_kernels, keep_freed
from limbeck.methods.base import STUDENT
from limbeck.methods.mate import GENERATOR

WARM_UP = 3


@dataclass(frozen=True)
class Share:
    """A worker's rows of each batch: all have rows of like lengths."""

    whole: Order
    rank: int

    def batch(self, number: int) -> np.ndarray:
        """Half of a batch, also where nobody takes the other half."""
        rows = self.whole.batch(number)
        return rows[self.rank * len(rows) // 2 : (self.rank + 1) * len(rows) // 2]


def nothing(tensors: Sequence[Tensor]) -> None:
    """Average nothing, but keep in step: both are measured while the other works."""
    if dist.get_world_size() > 1:
        dist.barrier()


def plainly(tensors: Sequence[Tensor]) -> None:
    """What is usual: every gradient, whole, one after the other."""
    for tensor in tensors:
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()


WAYS: dict[str, Average] = {"nothing averaged": nothing, "one by one": plainly, "the product's way": average}


def worker(rank: int, options: argparse.Namespace, size: int, port: int, told: Any) -> None:
    """Take steps beside the others in every way; the first tells the median seconds of each."""
    torch.set_num_threads(1)
    few_kernels()
    keep_freed()
    cuda = options.device == "cuda"
    device = torch.device(f"cuda:{rank}" if cuda else "cpu")
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("nccl" if cuda else "gloo", init_method=address, rank=rank, world_size=size)
    bench = setting(device, 2 * options.batch)
    bench = replace(bench, order=Share(bench.order, rank))  # type: ignore[arg-type]
    forms = {way: Product(bench, options.precision, way_of) for way, way_of in WAYS.items()}
    times: dict[tuple[str, str], list[float]] = {}
    # In turns, so that what else the machine does falls on all ways alike.
    for number in range(WARM_UP + options.steps):
        for way, form in forms.items():
            for phase in (STUDENT, GENERATOR):
                took = seconds(partial(form.step, number, phase), device)
                if number >= WARM_UP:
                    times.setdefault((phase, way), []).append(took)
    if rank == 0:
        told.put({key: statistics.median(found) for key, found in times.items()})
    dist.barrier()
    dist.destroy_process_group()


def measured(options: argparse.Namespace, size: int) -> dict[tuple[str, str], float]:
    """Median seconds a step of the first of so many workers, by phase and way of averaging."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(worker, (options, size, port, told), size)  # type: ignore[no-untyped-call]
    found: dict[tuple[str, str], float] = told.get()
    return found


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    start = time.perf_counter()
    alone, pair = measured(options, 1), measured(options, 2)
    for phase in (STUDENT, GENERATOR):
        one = alone[phase, "nothing averaged"]
        print(f"{phase} step of one worker, batch {options.batch}, {options.precision}: {one:.3f} s")
        for way in WAYS:
            two = pair[phase, way]
            print(f"  in a pair, {way}: {two:.3f} s, efficiency {one / two:.0%}")
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32, help="rows of each worker's batch")
    parser.add_argument("--steps", type=int, default=10, help="steps to time")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--device", default="cpu")
    main(parser.parse_args())

"""How long a call takes."""

import time
from collections.abc import Callable

import numpy as np

BATCHES = (1, 32)
"""Batch sizes that every latency is measured at."""
SHARES = (50, 95)
"""Percentiles that are told of it."""


def call_ms(
    call: Callable[[], object], repeats: int, warm_up: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median and the 95th percentile, `p50` and `p95`, of the milliseconds that `repeats` calls take."""
    times = []
    for _ in range(warm_up + repeats):
        started = clock()
        call()
        times.append(1000 * (clock() - started))
    return {f"p{share}": float(np.percentile(times[warm_up:], share)) for share in SHARES}


def by_batch(one: Callable[[int], dict[str, float]]) -> dict[str, float]:
    """Return `batch1/p50`, `batch1/p95`, `batch32/p50`, … of what `one` finds for each batch size."""
    return {f"batch{size}/{name}": value for size in BATCHES for name, value in one(size).items()}

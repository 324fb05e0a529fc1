"""Intervals of many samples at once: those of one shape share their resamples."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from limbeck.analysis.scores import Array
from limbeck.compare import Interval, Resampling
from limbeck.compare.crossed import parts
from limbeck.compare.intervals import bounds

K = TypeVar("K", bound=Hashable)
Samples = dict[K, tuple[Array, ...]]
"""(S, N_t) scores a task, whose mean over seeds, examples and tasks is what is measured."""
_AT_ONCE = 64


def intervals(samples: Mapping[K, tuple[Array, ...]], rng: np.random.Generator, how: Resampling) -> dict[K, Interval]:
    """Return each sample's mean with its interval, as `compare.interval` has it; NaN ends for a single number."""
    groups: dict[tuple[tuple[int, ...], ...], list[K]] = {}
    for key, tasks in samples.items():
        groups.setdefault(tuple(scores.shape for scores in tasks), []).append(key)
    out: dict[K, Interval] = {}
    for shapes, keys in groups.items():
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            given = parts([np.stack(tasks) for tasks in zip(*(samples[key] for key in some), strict=True)])
            low, high = bounds(given, rng, how, clip=True)
            if shapes[0][0] == 1 and all(shape[1] == 1 for shape in shapes):
                low = high = np.full(len(some), np.nan)
            ends: zip[tuple[K, float, float, float]] = zip(some, given.mean, low, high, strict=True)
            out |= {key: Interval(float(m), float(a), float(b), given.seeds) for key, m, a, b in ends}
    return {key: out[key] for key in samples}

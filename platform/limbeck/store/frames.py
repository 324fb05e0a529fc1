"""Rows of the database as frames, column by column: row by row ten thousand trials take most of a second."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, Any]
PLACE = ("trial", "number", "cell", "seed", "state", "updates", "updates_total", "seconds", "parameters", "retention")
TIMES = ("created", "started", "updated", "finished")
FLAT = (*PLACE, "error", "folder", *TIMES)
TABLES = ("values", "objective", "metrics")
"""Asked for as text: one piece of JSON is read several times faster than thousands."""
NULL = "null"
"""Stands for a setting that a trial was given as null: pandas takes None for NaN, which says that it was not given."""


def trial_frame(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return rows of (*FLAT, *TABLES) as a flat frame; see `Reader.trial_frame`."""
    if not rows:
        return pd.DataFrame(columns=list(FLAT))
    columns = dict(zip((*FLAT, *TABLES), zip(*rows, strict=True), strict=True))
    out: dict[str, Sequence[Any]] = {name: columns[name] for name in FLAT}
    for name in TIMES:
        out[name] = [None if at is None else datetime.fromtimestamp(at, UTC) for at in out[name]]
    values, objectives, metrics = (_parsed(columns[name]) for name in TABLES)
    out |= {f"value:{path}": [_scalar(one.get(path, math.nan)) for one in values] for path in _keys(values)}
    for kind, numbers in (("objective", objectives), ("metric", metrics)):
        out |= {f"{kind}:{name}": [_number(one.get(name)) for one in numbers] for name in _keys(numbers)}
    return pd.DataFrame(out)


def _parsed(texts: Sequence[str]) -> list[Mapping[str, Any]]:
    return list(json.loads(f"[{','.join(texts)}]"))


def _keys(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for one in tables for key in one))


def _scalar(value: Any) -> Any:
    if value is None:
        return NULL
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def metric_frame(rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return rows of (trial, updates, name, value) as a frame, by trial, name and updates."""
    trial, updates, name, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    # By codes: converting and sorting a million strings takes seconds.
    trials, trial_codes = _coded(trial)
    names, name_codes = _coded(name)
    updates_array = np.array(updates, dtype=np.int64)
    order = np.lexsort((updates_array, name_codes, trial_codes))
    return pd.DataFrame(
        {
            "trial": trials.take(trial_codes[order]),
            "updates": updates_array[order],
            "name": names.take(name_codes[order]),
            "value": np.array(value, dtype=np.float64)[order],
        }
    )


def _coded(words: Sequence[str]) -> tuple[pd.Index, Array]:
    """Return the distinct words, sorted, and the place of every word among them."""
    distinct = sorted(set(words))
    place = {word: i for i, word in enumerate(distinct)}
    return pd.Index(distinct, dtype="str"), np.fromiter((place[word] for word in words), np.int64, len(words))

"""Values on their way into the database and out of it: JSON without NaN, text every database takes, arrays as bytes."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_HALF = float(np.finfo(np.float16).max)


def plain(value: Any) -> Any:
    """Return `value` as plain JSON types: numpy scalars unwrapped, numbers that are not finite as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def dump_json(value: Any) -> str:
    """Return compact JSON; a NaN that got past `plain` is an error, never text."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return stored numbers with None as NaN."""
    return {k: math.nan if v is None else float(v) for k, v in values.items()}


def storable(text: str | None) -> str | None:
    """Return text without what a database refuses: NUL characters and halves of surrogate pairs."""
    return None if text is None else text.replace("\0", "").encode("utf-8", "replace").decode()


def pack(array: np.ndarray[Any, Any], dtype: str) -> dict[str, Any]:
    """Return the columns that hold a vector or a matrix as little-endian `dtype`; float16 saturates, never inf."""
    array = np.asarray(array)
    if array.ndim not in (1, 2):
        raise ValueError(f"an array to store is (rows,) or (rows, columns), got {array.shape}")
    if dtype == "float16":
        array = np.clip(array, -_HALF, _HALF)
    data = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    columns = array.shape[1] if array.ndim == 2 else 0
    return {"dtype": dtype, "rows": array.shape[0], "columns": columns, "data": data.tobytes()}


def unpack(dtype: str, rows: int, columns: int, data: bytes) -> np.ndarray[Any, Any]:
    """Return the array that `pack` took, in the machine's byte order."""
    array = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)
    return array.reshape(rows, columns) if columns else array

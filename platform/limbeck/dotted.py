"""Dotted paths into nested mappings: `method.weights.adversarial`."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# A bare word stands for {name: word} there.
_NAMED = ("task", "method")


class BlockedError(ValueError):
    """A path leads through a value that is no mapping."""


def lay(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of `base` with each value put at its dotted path, replacing what stands there."""
    out = copy.deepcopy(dict(base))
    for path, value in values.items():
        put(out, path.split("."), copy.deepcopy(value))
    return out


def put(tree: dict[str, Any], keys: Iterable[str], value: Any) -> None:
    """Set a value in place, making mappings on the way; BlockedError where a number, text or list is in the way."""
    *front, last = keys
    here = tree
    for depth, key in enumerate(front):
        below = here.get(key)
        if isinstance(below, str) and depth == 0 and key in _NAMED:
            below = {"name": below}
        elif below is None:
            below = {}
        if not isinstance(below, dict):
            raise BlockedError(f"'{'.'.join(front[: depth + 1])}' is not a mapping")
        here[key] = below
        here = below
    here[last] = value


def find(tree: Any, path: str) -> tuple[bool, Any]:
    """Return whether there is a value at `path`, and the value."""
    here = tree
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return False, None
        here = here[key]
    return True, here


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every value that is no mapping."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def within(path: str, other: str) -> bool:
    """Say whether `path` is `other` or lies below it."""
    return path == other or path.startswith(f"{other}.")


def same(one: Any, other: Any) -> bool:
    """Equality of YAML values, in which `true` is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

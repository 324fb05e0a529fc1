"""The values a searched parameter may take, and when it counts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from limbeck.dotted import same
from limbeck.errors import did_you_mean
from limbeck.faults import Fault, shown

Kind = Literal["uniform", "loguniform", "int", "choice"]
KINDS: tuple[str, ...] = get_args(Kind)
WORDS = (*KINDS, "step", "when")
MOST_CELLS = 10_000
_CHECKED_ONE_BY_ONE = 64


@dataclass(frozen=True)
class Domain:
    """A range or a choice. `values` holds the choices; `low`, `high` (both included) and `step` belong to ranges."""

    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    values: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] | None = None
    """Paths and the values they must have for this parameter to count; None: it always counts."""

    def contains(self, value: Any) -> bool:
        """Say whether the parameter can take `value`."""
        if self.kind == "choice":
            return any(same(value, choice) for choice in self.values)
        if not _number(value) or (self.kind == "int" and value != int(value)):
            return False
        return bool(_known(self.low) <= value <= _known(self.high))

    def probes(self) -> list[Any]:
        """Return the values whose validity stands for the domain's: every one of a few, else bounds and one between."""
        if self.kind == "choice":
            return list(self.values)
        low, high = _known(self.low), _known(self.high)
        if self.kind == "int":
            few = high - low <= _CHECKED_ONE_BY_ONE
            return list(range(int(low), int(high) + 1, int(self.step or 1))) if few else [low, high]
        if self.kind == "loguniform":
            return [low, math.exp(0.62 * math.log(low) + 0.38 * math.log(high)), high]
        return [low, high] if self.step else [low, 0.62 * low + 0.38 * high, high]

    def grid(self) -> list[Any] | None:
        """Return all values in order, or None where they are not countable or too many."""
        if self.kind == "choice":
            return list(self.values)
        step = self.step or (1 if self.kind == "int" else None)
        low, high = _known(self.low), _known(self.high)
        if step is None or (high - low) / step >= MOST_CELLS:
            return None
        count = round((high - low) / step) if self.kind != "int" else int((high - low) // step)
        if self.kind == "int":
            return [int(low) + i * int(step) for i in range(count + 1)]
        return [round(low + i * step, 12) for i in range(count + 1)]


def parse_domain(raw: Any) -> tuple[Domain | None, list[Fault]]:
    """Read `{uniform: [a, b]}` and its like; fault paths start at the domain."""
    if not isinstance(raw, dict):
        return None, [Fault("", f"must be a mapping such as {{uniform: [0.1, 0.5]}}, got {shown(raw)}")]
    faults = [Fault(key, f"no such field. {did_you_mean(key, WORDS)}") for key in raw if key not in WORDS]
    kinds = [kind for kind in KINDS if kind in raw]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none"
        return None, [*faults, Fault("", f"must have exactly one of {', '.join(KINDS)}, got {got}")]
    kind = kinds[0]
    when, when_faults = _when(raw)
    faults += when_faults
    if kind == "choice":
        faults += _choice_faults(raw)
    else:
        faults += _range_faults(kind, raw)
    if faults:
        return None, faults
    if kind == "choice":
        return Domain("choice", values=tuple(raw["choice"]), when=when), []
    low, high = raw[kind]
    return Domain(_kind(kind), low, high, raw.get("step"), when=when), []


def _choice_faults(raw: Mapping[str, Any]) -> list[Fault]:
    values = raw["choice"]
    if not isinstance(values, list) or not values:
        return [Fault("choice", f"must be a list of values, got {shown(values)}")]
    faults = [] if "step" not in raw else [Fault("step", "belongs to a range, not to a choice")]
    twice = [v for i, v in enumerate(values) if any(same(v, earlier) for earlier in values[:i])]
    return [*faults, *(Fault("choice", f"{shown(value)} is given twice") for value in twice[:1])]


def _range_faults(kind: str, raw: Mapping[str, Any]) -> list[Fault]:
    bounds, step = raw[kind], raw.get("step")
    right = int if kind == "int" else float
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(_number, bounds)):
        return [Fault(kind, f"must be [lowest, highest], two numbers, got {shown(bounds)}")]
    low, high = bounds
    if kind == "int" and not all(isinstance(bound, int) for bound in bounds):
        return [Fault(kind, f"must be two whole numbers, got {shown(bounds)}")]
    if not low < high:
        return [Fault(kind, f"the first number must be below the second, got {shown(bounds)}")]
    if kind == "loguniform" and low <= 0:
        return [Fault(kind, f"a logarithmic range must start above 0, got {shown(bounds)}")]
    if step is None:
        return []
    if kind == "loguniform":
        return [Fault("step", "a logarithmic range has no step")]
    if not _number(step) or step <= 0 or (right is int and not isinstance(step, int)):
        return [Fault("step", f"must be a {'whole ' if right is int else ''}number above 0, got {shown(step)}")]
    steps = (high - low) / step
    if not math.isfinite(steps) or abs(steps - round(steps)) > 1e-6 or steps < 1:
        return [Fault("step", f"must divide the range {shown(bounds)} into equal parts, got {shown(step)}")]
    return []


def _when(raw: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, ...]] | None, list[Fault]]:
    when = raw.get("when")
    if when is None:
        return None, []
    if not isinstance(when, dict) or not when:
        return None, [Fault("when", f"must be a mapping {{path: value or list of values}}, got {shown(when)}")]
    empty = [path for path, value in when.items() if value == []]
    if empty:
        return None, [Fault(f"when.{path}", "the list of values is empty") for path in empty]
    return {path: tuple(value) if isinstance(value, list) else (value,) for path, value in when.items()}, []


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(bound: float | None) -> float:
    if bound is None:
        raise ValueError("a choice has no bounds")
    return bound


def _kind(word: str) -> Kind:
    match word:
        case "uniform" | "loguniform" | "int" | "choice":
            return word
    raise ValueError(word)

"""How things read: numbers with digits and units, times, and text from data that stays text."""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from limbeck.report import Column, show

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~:^=&@/])")
_ADDRESS = re.compile(r"(https?(?=:)|www(?=\.)|@)", re.IGNORECASE)
_SHARES = ("retention", "accuracy", "agreement", "f1", "f1_macro", "accuracy_f1", "ece", "flip_rate", "epoch_share")
_PLAIN = {
    "retention": "selection retention",
    "train_seconds": "training time",
    "parameters_non_embedding": "parameters without embeddings",
    "latency_ms": "latency (ms)",
}
_LAST_WORD = {"ece": "calibration error", "kl": "KL to the teacher (nats)"}


def literal(text: Any) -> str:
    """Return text for a place that reads Markdown, where it stands for itself: no markup, links, images or formulas."""
    # Addresses become links whatever is escaped: an invisible space takes them apart.
    words = _ADDRESS.sub("\\1\u200b", " ".join(str(text).split()))
    return _MARKDOWN.sub(r"\\\1", words)


def label(text: Any, longest: int = 60) -> str:
    """Return text for a label in a chart, on one line and cut to a length."""
    words = " ".join(str(text).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def is_share(metric: str) -> bool:
    """Say whether a metric is a share of one, shown as percent."""
    last = metric.rpartition("/")[2]
    return last in _SHARES or last.endswith("_share")


def metric_title(name: str) -> str:
    """Return what people call a metric."""
    if name in _PLAIN:
        return _PLAIN[name]
    *path, last = name.split("/")
    if path and path[0] in _PLAIN:
        return f"{_PLAIN[path[0]]}, {' '.join([*path[1:], last])}"
    return " ".join([*path, _LAST_WORD.get(last, last)]).replace("_", " ")


def sentence(text: str) -> str:
    """Return text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def number(value: float | None, metric: str = "") -> str:
    """Return a metric's value as people read it."""
    kind = "percent" if is_share(metric) else "count" if "parameters" in metric else "number"
    if metric.endswith("seconds"):
        kind = "duration"
    return show(value, Column(metric or "value", kind=kind))  # type: ignore[arg-type]


def percent(value: float | None, digits: int = 1) -> str:
    return show(value, Column("share", kind="percent", digits=digits))


def count(value: float | None) -> str:
    return show(None if value is None or math.isnan(value) else int(value), Column("count", kind="count"))


def duration(seconds: float | None) -> str:
    return show(seconds, Column("time", kind="duration"))


def size(value: int) -> str:
    return show(value, Column("size", kind="bytes"))


def p_value(p: float | None) -> str:
    """Return a p as papers print it."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return the ends of an interval of shares."""
    return "–" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def signed(value: float | None, digits: int = 1) -> str:
    """Return a difference of shares in percentage points."""
    return "–" if value is None else f"{100 * value:+.{digits}f}"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    seconds = (now - then).total_seconds()
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h"), (math.inf, 86_400, "days")):
        if seconds < limit:
            return f"{max(0, round(seconds / unit))} {name} ago"
    raise AssertionError


def moment(time: datetime | None) -> str:
    """Return a time to the minute."""
    return "–" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def unfolded(value: Any) -> Any:
    """Return a setting's value: the frame of trials holds tables and lists as JSON, which can be told apart."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            return json.loads(value)
    return value


def value_text(value: Any) -> str:
    """Return a setting's value as one line; a table with a name, such as a method, begins with it."""
    value = unfolded(value)
    if value is None:
        return "–"
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        rest = {name: part for name, part in value.items() if name != "name"}
        return f"{value['name']} {json.dumps(rest, ensure_ascii=False)}" if rest else str(value["name"])
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def flattened(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings by dotted path; lists and empty tables are values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def short_paths(paths: list[str]) -> dict[str, str]:
    """Return the shortest ends of dotted paths that still tell them apart."""
    ends: dict[str, str] = {}
    for path in paths:
        words = path.split(".")
        for take in range(1, len(words) + 1):
            end = ".".join(words[-take:])
            if sum(other == end or other.endswith(f".{end}") for other in paths) == 1:
                break
        ends[path] = end
    return ends

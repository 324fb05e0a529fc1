"""What a sweep's plan says: its base trial and its ablation, read from the text that is stored with the results."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

NOT_SET = "default"
"""What stands for a setting that neither plan nor trial mentions."""


@lru_cache(maxsize=256)
def parsed(text: str) -> dict[str, Any]:
    """Return the plan as a table; empty where the text is no plan. Shared: read-only."""
    try:
        plan = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return {}
    return plan if isinstance(plan, dict) else {}


def base(text: str) -> dict[str, Any]:
    """Return the plan's base trial as it is written; defaults are not in it."""
    found = parsed(text).get("base")
    return found if isinstance(found, dict) else {}


def lookup(settings: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, or NOT_SET; `method: kd` is short for a table with that name."""
    at: Any = settings
    for word in path.split("."):
        if isinstance(at, str) and word == "name":
            return at
        if not isinstance(at, Mapping) or word not in at:
            return NOT_SET
        at = at[word]
    return at


def named(settings: Mapping[str, Any], section: str) -> str | None:
    """Return a section's name: `task: movies`, or `method: {name: kd}`, or a task's hub id."""
    value = settings.get(section)
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("name", "hub") if isinstance(value.get(key), str)), None)
    return value if isinstance(value, str) else None

"""What a plan names by relative paths: files of a task, and folders of models and data sets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.archives import MODELS
from limbeck.tasks.hub import GLUE

_MODELS_AND_DATA = ("hub", "base", "checkpoint")
"""Fields of a plan that may name a folder instead of something on the hub."""
_KNOWN = {task.id for task in GLUE.values()}
"""A known task is told by its id, whatever lies here under the same name."""


@dataclass(frozen=True)
class Named:
    """A relative path in a plan."""

    where: str
    """The place in the plan, dotted."""
    name: str
    file: bool
    """Whether it must be a file; else it may be a folder, or something on the hub."""


def named(raw: Any) -> Iterator[Named]:
    """Yield every relative path of a plan, and every name that may be one."""
    found: list[Named] = []

    def note(one: Named) -> str:
        found.append(one)
        return one.name

    _mapped(raw, note, ())
    yield from found


def placed(raw: Any, folder: Path) -> Any:
    """Return the plan with the files it names, and those folders that are there, taken from `folder`."""

    def place(one: Named) -> str:
        there = one.file or (one.name not in _KNOWN and _is_folder(folder / one.name))
        return str(folder / one.name) if there else one.name

    return _mapped(raw, place, ())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # A name too long for any file system, for one.
        return False


def _mapped(value: Any, change: Callable[[Named], str], path: tuple[str, ...]) -> Any:
    """Return the plan with every relative path changed. The keys of `vary` and of factors hold dots."""
    if isinstance(value, dict):
        return {key: _mapped(item, change, (*path, *key.split("."))) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change, path) for item in value]
    if not isinstance(value, str) or Path(value).is_absolute():
        return value
    words = [word for word in path if word != "choice"]
    file = "files" in words[-2:-1]
    folder = bool(words) and words[-1] in _MODELS_AND_DATA and value not in ("", *MODELS)
    return change(Named(".".join(path), value, file)) if file or folder else value

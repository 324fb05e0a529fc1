"""`limbeck tasks` and `limbeck methods`: what there is."""

import argparse
import json
import sys
from typing import Any

from limbeck.cli.places import Commands, add_command, add_json


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "tasks",
        "list the tasks known by name, with sources and licences",
        _tasks,
        ["limbeck tasks", "limbeck tasks --json"],
    )
    add_json(parser)
    parser = add_command(
        commands,
        "methods",
        "list the distillation methods and their settings",
        _methods,
        ["limbeck methods", "limbeck methods --json"],
    )
    add_json(parser)


def _tasks(arguments: argparse.Namespace) -> int:
    from limbeck.tasks import TASKS, UNLABELLED_ROWS

    rows = [
        {
            "name": name,
            "about": task.about,
            "classes": list(task.classes),
            "metric": task.metric,
            "rows": dict(task.rows) | ({UNLABELLED_ROWS: task.unlabelled} if task.unlabelled else {}),
            "sources": [{"name": s.name, "licence": s.licence, "origin": s.origin} for s in task.sources],
        }
        for name, task in TASKS.items()
    ]
    if arguments.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
    else:
        print("\n\n".join(map(_task_text, rows)))
        print(
            "\nAny other data: {hub: ID, config: NAME, text: [COLUMN], label: COLUMN} or {files: {train: FILE, …}, …}."
        )
    return 0


def _task_text(row: dict[str, Any]) -> str:
    kind = f"{len(row['classes'])} classes: {', '.join(row['classes'])}" if row["classes"] else "a number"
    counts = ", ".join(f"{split} {count:,}" for split, count in row["rows"].items())
    sources = [f"  from {s['origin']} ({s['licence']})" for s in row["sources"]]
    return "\n".join([f"{row['name']}: {row['about']}", f"  {kind}; {row['metric']}; rows: {counts}", *sources])


def _methods(arguments: argparse.Namespace) -> int:
    from limbeck.methods import METHODS

    rows = [
        {"name": name, "about": _first_sentence(method), "fields": _fields(method.Config)}
        for name, method in METHODS.items()
    ]
    if arguments.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
    else:
        print("\n\n".join(map(_method_text, rows)))
    return 0


def _first_sentence(method: Any) -> str:
    """The first line of the docstring of the method's own file, which says what it does."""
    text = sys.modules[method.__module__].__doc__ or ""
    return text.strip().split("\n", 1)[0]


def _fields(config: Any) -> dict[str, Any]:
    """Every setting by dotted path with its default; None where the plan must give it."""
    default = config().model_dump(mode="json")
    return {path: value for path, value in _flat(default) if path != "name"}


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in tree.items():
        out += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return out


def _method_text(row: dict[str, Any]) -> str:
    fields = [f"  {path} = {_short(value)}" for path, value in row["fields"].items()]
    return "\n".join([f"{row['name']}: {row['about']}", *fields])


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)

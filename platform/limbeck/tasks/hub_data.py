"""Loading a task from the hub or from a folder of the same layout, through `datasets`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.tasks.hub import SEE_CARD, Companion, HubTask
from limbeck.tasks.labels import missing
from limbeck.tasks.tables import Columns, Labelled, Table, assemble, examples_of
from limbeck.tasks.task import Examples, Source, Task, together

log = logging.getLogger(__name__)
_NO_LABEL = -1
"""What a hub's class column holds where the label is hidden or unknown."""


def load_known(name: str, task: HubTask, metric: str | None, *, companions: bool) -> Task:
    """Return one of GLUE's tasks: test is its validation split (MNLI: both of them), selection is carved from train."""
    data = _load(task.id, task.config)
    wanted = {"train": "train", **(task.parts or {"test": task.validation})}
    columns = Columns(task.text, task.label)
    tables = {
        split: _table(_split(data, theirs, task.id), columns, f"{task.id} ({task.config}, {theirs})")
        for split, theirs in wanted.items()
    }
    tables = {split: _named(table, task.label, task.classes) for split, table in tables.items()}
    _, splits = examples_of(tables, columns, task.metric, task.classes)
    if task.parts:
        splits["test"] = together([splits[part] for part in task.parts])
    sources = task.sources
    if companions:
        splits |= {their: _companion(companion) for their, companion in task.companions.items()}
        sources += tuple(companion.source for companion in task.companions.values())
    return assemble(Labelled(name, task.classes, metric or task.metric, splits, sources))


def load_columns(id: str, config: str | None, columns: Columns, metric: str | None) -> Task:
    """Return the task in the given columns of any data set with a `train` split.

    A labelled `test` split is the test, and `validation` the selection; where test labels are hidden, validation is
    the test.
    """
    data = _load(id, config)
    name = f"{id} ({config})" if config else id
    tables = {"train": _table(_split(data, "train", id), columns, f"{name}, train")}
    held_out = [split for split in ("test", "validation") if split in data and _has_labels(data[split], columns.label)]
    roles = {"test": held_out[0]} if held_out else {}
    if len(held_out) == 2:
        roles["selection"] = held_out[1]
    for role, theirs in roles.items():
        tables[role] = _table(data[theirs], columns, f"{name}, {theirs}")
    names = _class_names(data["train"], columns.label)
    classes, splits = examples_of(tables, columns, metric, names)
    return assemble(Labelled(name, classes, metric, splits, (Source(name, SEE_CARD, id),)))


def _companion(companion: Companion) -> Examples:
    data = _load(companion.id, companion.config, companion.revision)
    columns = Columns(companion.text, companion.label)
    table = _table(_split(data, companion.split, companion.id), columns, f"{companion.id} ({companion.split})")
    table = _named(table, companion.label, companion.names)
    # Checked as a training split would be: nothing else to compare its labels with.
    examples = examples_of({"train": table}, columns, "accuracy", companion.names)[1]["train"]
    return replace(examples, merge=companion.merge)


def _load(id: str, config: str | None, revision: str | None = None) -> Mapping[str, Any]:
    """Return the data set's splits by name."""
    import datasets

    try:
        data: Mapping[str, Any] = datasets.load_dataset(id, config, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(Problem(id, _unreachable(id, config, error))) from error
    return data


def _unreachable(id: str, config: str | None, error: Exception) -> str:
    said = str(error).strip().splitlines() or [type(error).__name__]
    which = f"'{id}'" + (f" with config '{config}'" if config else "")
    return (
        f"the data set {which} could not be loaded: {said[0]} "
        "Check the id, the config and the network (HF_HUB_OFFLINE forbids it). Without a hub, bring its files here "
        f"on another way (`hf download --repo-type dataset {id} --local-dir DIR`) and give that folder: hub: DIR"
    )


def _split(data: Mapping[str, Any], name: str, id: str) -> Any:
    if name not in data:
        raise UserError(Problem(id, f"has no split '{name}'. {did_you_mean(name, data)}"))
    return data[name]


def _class_names(split: Any, label: str) -> tuple[str, ...] | None:
    """The names of a class column, in label order; None where labels are plain values."""
    names = getattr(split.features.get(label), "names", None)
    # A data set card is YAML 1.1, in which a class called no is a truth value.
    return tuple(str(name) for name in names) if names else None


def _has_labels(split: Any, label: str) -> bool:
    # An absent column counts as labelled: it is reported as a problem rather than passed over.
    if label not in split.column_names:
        return True
    return any(not missing(value) and value != _NO_LABEL for value in split[label][:])


def _table(split: Any, columns: Columns, where: str) -> Table:
    """Return the wanted columns (and the names of all, for did-you-mean), less the rows without a label."""
    wanted = {*columns.text, columns.label}
    cells: dict[str, list[object]] = {
        name: list(split[name][:]) if name in wanted else [] for name in split.column_names
    }
    names = _class_names(split, columns.label)
    if names is None:
        return Table(where, cells, len(split))
    labels = cells[columns.label]
    kept = [row for row, label in enumerate(labels) if label != _NO_LABEL and label is not None]
    if len(kept) < len(labels):
        log.warning("%s: %d of %d rows have no label and are left out", where, len(labels) - len(kept), len(labels))
    cells = {name: [column[row] for row in kept] if column else column for name, column in cells.items()}
    cells[columns.label] = [names[int(str(label))] for label in cells[columns.label]]
    return Table(where, cells, len(kept))


def _named(table: Table, label: str, names: Sequence[str]) -> Table:
    """Return the table with bare class numbers turned into names; copies of a data set often lose the names."""
    cells = table.columns.get(label, [])
    if not names or not all(isinstance(cell, int) and 0 <= cell < len(names) for cell in cells):
        return table
    return replace(table, columns={**table.columns, label: [names[int(str(cell))] for cell in cells]})

"""From a TaskConfig to a Task."""

from dataclasses import replace

from limbeck.cache import Cache
from limbeck.tasks.config import TASKS, TaskConfig
from limbeck.tasks.embedded import load_embedded
from limbeck.tasks.files import load_files
from limbeck.tasks.hub import HubTask
from limbeck.tasks.hub_data import load_columns, load_known
from limbeck.tasks.tables import Columns
from limbeck.tasks.task import Task


def load_task(config: TaskConfig, cache: Cache) -> Task:
    """Return the task with all its splits. What is wrong with the user's data raises UserError, all at once."""
    name = config.known
    if name is not None:
        known = TASKS[name]
        if isinstance(known, HubTask):
            return load_known(name, known, config.metric, companions=config.companions)
        task = load_embedded(name, known, cache)
        if not config.companions:
            # The fingerprint stays, and so what the cache holds of the other splits.
            task = replace(task, others={})
        return replace(task, metric=config.metric or task.metric)
    columns = Columns(config.text or ("text",), config.label or "label")
    if config.files is not None:
        return load_files(config.files.given, columns, config.metric)
    return load_columns(config.hub or "", config.config, columns, config.metric)

"""From a TaskConfig to a Task."""

from limbeck.cache import Cache
from limbeck.tasks.config import TaskConfig
from limbeck.tasks.embedded import Embedded, load_embedded
from limbeck.tasks.task import Task


def load_task(config: TaskConfig, cache: Cache) -> Task:
    """Return the task with all its splits. What is wrong with the user's data raises UserError, all at once."""
    known = config.known
    if isinstance(known, Embedded):
        return load_embedded(config.name or "", known, cache)
    raise NotImplementedError("files and hub tasks")

"""What is classified: built-in tasks, data sets of a hub, and the user's own files, behind one Task."""

from limbeck.tasks.config import TASKS, FilesConfig, TaskConfig
from limbeck.tasks.loading import load_task
from limbeck.tasks.splitting import row_keys, subsample, text_key
from limbeck.tasks.tables import warn_of_leaks
from limbeck.tasks.task import UNLABELLED, UNLABELLED_ROWS, Examples, Source, Task, reading, spread

__all__ = [
    "TASKS",
    "UNLABELLED",
    "UNLABELLED_ROWS",
    "Examples",
    "FilesConfig",
    "Source",
    "Task",
    "TaskConfig",
    "load_task",
    "reading",
    "row_keys",
    "spread",
    "subsample",
    "text_key",
    "warn_of_leaks",
]

"""What is classified: built-in tasks, data sets of a hub, and the user's own files, behind one Task."""

from limbeck.tasks.config import TASKS, FilesConfig, TaskConfig
from limbeck.tasks.loading import describe_tasks, load_task
from limbeck.tasks.splitting import subsample, text_key
from limbeck.tasks.task import Examples, Source, Task, reading

__all__ = [
    "TASKS",
    "Examples",
    "FilesConfig",
    "Source",
    "Task",
    "TaskConfig",
    "describe_tasks",
    "load_task",
    "reading",
    "subsample",
    "text_key",
]

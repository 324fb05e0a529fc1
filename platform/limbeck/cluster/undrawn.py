"""What Ray's workers import, for a process that others are forked from: without a draw from Ray's random numbers.

Ray's generator takes its seed when it is first asked, and once for all threads. Importing Tune asks it, to name actor
classes. Forks of a process that has been asked all draw the same numbers: the same names for placement groups, and for
the object that each worker stores for a moment as it starts, where two that start together take each other down.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import actor

_MODULES = ("limbeck.cluster.worker", "limbeck.cluster.group")


@contextmanager
def _classes_named_by_the_system() -> Iterator[None]:
    module: Any = actor
    ids = module.ActorClassID

    class Named:
        """Stands for the class while modules are imported."""

        @staticmethod
        def from_random() -> Any:
            """As random, and not from Ray's generator."""
            return ids(os.urandom(ids.size()))

    module.ActorClassID = Named
    try:
        yield
    finally:
        module.ActorClassID = ids


with _classes_named_by_the_system():
    for _module in _MODULES:
        importlib.import_module(_module)

"""Who hears what is said while a trial runs: nobody sees a worker's own output."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ears: list[Callable[[str], None]] = [logging.getLogger(__name__).info]
"""Who hears what the stock says: it is made once, but each trial has a driver of its own to tell."""


def hear(line: str) -> None:
    """Hand on a line to whoever listens now."""
    _ears[-1](line)


@contextmanager
def saying(listener: Callable[[str], None]) -> Iterator[None]:
    """Let `listener` have what the stock says meanwhile."""
    _ears.append(listener)
    try:
        yield
    finally:
        _ears.remove(listener)


@contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """Collect the package's warnings while a trial runs: nobody sees a worker's own output."""
    lines: list[str] = []
    handler = _Collector(lines.append)
    package = logging.getLogger("limbeck")
    package.addHandler(handler)
    try:
        yield lines
    finally:
        package.removeHandler(handler)


class _Collector(logging.Handler):
    """Hands every warning to a function."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take(record.getMessage())

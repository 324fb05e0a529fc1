"""What the user sees of a running sweep: a live bar on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from limbeck.cluster.ledger import Standing

_REFRESH_SECONDS = 0.25
_LINE_SECONDS = 30.0
_HEARTBEAT_SECONDS = 30.0


class Beat:
    """Calls one thing often and another now and then, from a loop that turns as fast as it likes."""

    def __init__(
        self, often: Callable[[], None], seldom: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._due = {_REFRESH_SECONDS: clock() + _REFRESH_SECONDS, _HEARTBEAT_SECONDS: clock() + _HEARTBEAT_SECONDS}
        self._acts = {_REFRESH_SECONDS: often, _HEARTBEAT_SECONDS: seldom}
        self._clock = clock

    def __call__(self) -> None:
        for period, act in self._acts.items():
            if self._clock() >= self._due[period]:
                self._due[period] = self._clock() + period
                act()


class Board:
    """Shows where a sweep stands."""

    def __init__(self, console: Console, metric: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._metric = metric
        self._clock = clock
        columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("getting ready", total=None)
        self._live = console.is_terminal
        self._opened: tuple[float, float] | None = None
        """When trials started, and the budgets spent before."""
        self._line_at = -_LINE_SECONDS
        self._line_ended = 0

    def __enter__(self) -> "Board":
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._bar.stop()

    def open(self, standing: Standing) -> None:
        """Trials start now."""
        self._opened = (self._clock(), standing.spent)
        self._line_ended = standing.ended

    def show(self, standing: Standing) -> None:
        """Show a standing: on a terminal always, elsewhere when a trial has ended and the last line is 30 s old."""
        if self._opened is None:
            return
        words = self.words(standing)
        if self._live:
            self._bar.update(self._task, completed=standing.ended, total=standing.planned, description=words)
            self._bar.refresh()
        elif standing.ended != self._line_ended and self._clock() - self._line_at >= _LINE_SECONDS:
            self._print(standing)

    def close(self, standing: Standing) -> None:
        """Leave the last word."""
        if self._live or standing.ended != self._line_ended:
            self._print(standing)

    def _print(self, standing: Standing) -> None:
        line = f"{standing.ended}/{standing.planned} trials: {self.words(standing)}"
        self._console.print(line, markup=False, highlight=False)
        self._line_at, self._line_ended = self._clock(), standing.ended

    def words(self, standing: Standing) -> str:
        """Put a standing in words."""
        parts = [f"{standing.running} running"] if standing.running else []
        parts += [f"{standing.stopped} stopped early"] if standing.stopped else []
        parts += [f"{standing.failed} failed"] if standing.failed else []
        parts += [f"best {self._metric} {standing.best:.4f}"] if standing.best is not None else []
        left = self._seconds_left(standing)
        return ", ".join([*parts, *([f"about {duration(left)} left"] if left is not None else [])])

    def _seconds_left(self, standing: Standing) -> float | None:
        """Guess from the budgets spent since trials started; None while there is nothing to go by."""
        if self._opened is None:
            return None
        began, before = self._opened
        spent = standing.spent - before
        if spent <= 0 or standing.ended == standing.planned:
            return None
        return (self._clock() - began) / spent * max(0.0, standing.planned - standing.spent)


def duration(seconds: float) -> str:
    """Return a length of time in a word or two."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"

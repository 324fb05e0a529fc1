"""The one error a user can cause, and the words it is told in."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the user's input: where it stands and what to do about it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class UserError(Exception):
    """The user's input is wrong. The command line prints every problem and exits with 2, without a traceback."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(p if isinstance(p, Problem) else Problem("", p) for p in problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type["UserError"], tuple[Problem, ...]]:
        return type(self), self.problems


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return a sentence that names the closest allowed word, or all of them when none is close."""
    options = sorted(allowed)
    close = get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Allowed: {', '.join(options)}." if options else "Nothing is allowed here."

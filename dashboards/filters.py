"""The leaderboard's filter: `layers = 2 and retention > 95 %`, or any words to look for."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from limbeck.errors import Problem, UserError, did_you_mean

HIGHEST_SHARE = 1.5
"""A student may keep more than all of its teacher, but hardly more than this: what is higher is meant in percent."""
_CONDITION = re.compile(r"^\s*(?P<name>[^<>=!~]+?)\s*(?P<sign><=|>=|!=|==|=|<|>|~)\s*(?P<value>.+?)\s*$")
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


def filtered(
    frame: pd.DataFrame, text: str, names: Mapping[str, str], words_in: Sequence[str], shares: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the rows that fulfil all conditions; `names` are what columns are called, `words_in` where words occur.

    A percent sign divides by 100; `shares` are columns shown in percent, for which `95` means the same as `95 %`.
    UserError names every condition that cannot be read.
    """
    keep = pd.Series(True, index=frame.index)
    problems: list[Problem] = []
    for part in re.split(r"\s+and\s+|;", text.strip(), flags=re.IGNORECASE):
        if not part.strip():
            continue
        found = _CONDITION.match(part)
        if found is None:
            keep &= _anywhere(frame, part.strip(), words_in)
            continue
        column = _column(found["name"], names)
        if column is None:
            problems.append(Problem(part.strip(), f"no such column. {did_you_mean(found['name'].strip(), names)}"))
            continue
        try:
            keep &= _holds(frame[column], found["sign"], found["value"], column in shares)
        except ValueError as error:
            problems.append(Problem(part.strip(), str(error)))
    if problems:
        raise UserError(*problems)
    return frame[keep]


def _column(name: str, names: Mapping[str, str]) -> str | None:
    wanted = _called(name)
    return next((column for called, column in names.items() if _called(called) == wanted), None)


def _called(name: str) -> str:
    """Return a title without its unit, however it is written."""
    return name.partition("(")[0].strip().casefold().replace(" ", "_")


def _anywhere(frame: pd.DataFrame, text: str, columns: Sequence[str]) -> pd.Series:
    found = pd.Series(False, index=frame.index)
    for column in columns:
        found |= frame[column].astype(str).str.contains(text, case=False, regex=False)
    return found


def _holds(values: pd.Series, sign: str, value: str, share: bool) -> pd.Series:
    value = value.strip("'\"")
    if sign == "~":
        return values.astype(str).str.contains(value, case=False, regex=False)
    number = _number(value)
    if number is not None and share and number > HIGHEST_SHARE and not value.endswith("%"):
        number /= 100
    if number is not None and pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        return _SIGNS[sign](values, number)
    if sign in ("=", "==", "!="):
        same = values.astype(str).str.casefold() == value.casefold()
        if number is not None:
            # Not by what can be read as a number: a trial may be called 12e45.
            same |= values.astype(object) == number
        return ~same if sign == "!=" else same
    numeric = pd.to_numeric(values, errors="coerce")
    if number is None or numeric.notna().sum() == 0:
        raise ValueError(f"'{sign}' compares numbers; use = or ~ for words")
    return _SIGNS[sign](numeric, number)


def _number(text: str) -> float | None:
    share = text.endswith("%")
    try:
        return float(text.rstrip("% ")) / (100 if share else 1)
    except ValueError:
        return None

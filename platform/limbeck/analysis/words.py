"""How intervals, p-values and significance read in a table."""

import math

ALPHA = 0.05
MARKS = ((0.001, "***"), (0.01, "**"), (ALPHA, "*"))
MARKS_TOLD = "* p < 0.05, ** p < 0.01, *** p < 0.001, n.s. not significant (adjusted p)."


def percent(share: float, *, signed: bool = False) -> str:
    """Return a share in percent, without the sign for it: 97.3, +0.4, −1.2."""
    text = f"{100 * abs(share):.1f}"
    if float(text) == 0:
        return text
    return ("−" if share < 0 else "+" if signed else "") + text


def percent_interval(low: float | None, high: float | None) -> str | None:
    """Return an interval of shares: `96.8 to 97.7 %`."""
    return None if _unknown(low, high) else f"{percent(low or 0)} to {percent(high or 0)} %"


def points_interval(low: float | None, high: float | None) -> str | None:
    """Return an interval of differences of shares, in points: `−1.9 to +0.4`."""
    return None if _unknown(low, high) else f"{percent(low or 0, signed=True)} to {percent(high or 0, signed=True)}"


def _unknown(*values: float | None) -> bool:
    return any(value is None or math.isnan(value) for value in values)


def marked(difference: float | None, p: float | None) -> str | None:
    """Return a difference of shares in points with the mark of its adjusted p: `−1.2 **`."""
    return None if difference is None else " ".join(filter(None, (percent(difference, signed=True), mark(p))))


def mark(p: float | None) -> str:
    """Return stars, `n.s.`, or nothing where nothing was tested."""
    if p is None:
        return ""
    return next((stars for bar, stars in MARKS if p < bar), "n.s.")


def p_value(p: float | None) -> str | None:
    """Return a p-value as papers print it."""
    if p is None:
        return None
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def many(count: int, noun: str) -> str:
    """Return a number with its noun: 1 seed, 2,000 examples."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def resampled(seeds: int, *, by_example: bool) -> str:
    """Return what an interval is over: one seed says nothing about seeds."""
    return " and ".join([*(["seeds"] if seeds > 1 or not by_example else []), *(["examples"] if by_example else [])])

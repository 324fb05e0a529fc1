"""Colours and marks: told apart by people who are colour-blind, readable on white and on near-black."""

SERIES = ("#0072B2", "#D55E00", "#009E73", "#C774C9", "#3F98DC")
"""After Okabe and Ito, moved so that each has a contrast of 3 or more on both backgrounds."""
GREY = "#808690"
FAINT = "rgba(128, 134, 144, 0.45)"
BAND = "rgba(128, 134, 144, 0.22)"
BLUES = ((0.0, "#9FC9E6"), (0.5, "#3F98DC"), (1.0, "#00507D"))
"""A scale for ordered values."""
ALARM = "#D55E00"

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
STATES = {
    "complete": (SERIES[0], "circle"),
    "running": (SERIES[2], "triangle-right"),
    "stopped": (GREY, "square-open"),
    "failed": (SERIES[1], "x"),
    "waiting": (GREY, "circle-open"),
}
"""Colour and symbol of a trial's state: never colour alone."""


def colour(place: int) -> str:
    """Return the colour of the series at this place; they come round again, with another mark."""
    return SERIES[place % len(SERIES)]


def symbol(place: int) -> str:
    """Return the symbol of the series at this place: a different one each time the colours come round."""
    return SYMBOLS[(place + place // len(SERIES)) % len(SYMBOLS)]


def dash(place: int) -> str:
    """Return the dash of the series at this place: a different one each time the colours come round."""
    return DASHES[(place // len(SERIES)) % len(DASHES)]

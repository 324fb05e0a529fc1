"""Colours and marks: told apart by people who are colour-blind, readable on white and on near-black."""

SERIES = ("#2A639F", "#D45700", "#2A9468", "#C773B7", "#1298FF")
"""Each has a contrast of 3 or more on both backgrounds; apart for usual, protan, deutan and tritan sight alike."""
GREY = "#808690"
FAINT = "rgba(128, 134, 144, 0.45)"
BAND = "rgba(128, 134, 144, 0.22)"
SCALES = {
    "light": ((0.0, "#B4B9C2"), (0.5, "#6FA8DC"), (1.0, "#1068C0")),
    "dark": ((0.0, "#4A5160"), (0.5, "#3F7DBB"), (1.0, "#6CBBFF")),
}
"""For ordered values: from what recedes to what stands out."""
ALARM = "#D45700"
BACKGROUNDS = {"light": "#FFFFFF", "dark": "#0E1117"}
"""Of the pages, as the theme has them."""

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

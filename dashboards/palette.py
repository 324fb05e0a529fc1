"""Colours and marks: told apart by people who are colour-blind, readable on white and on near-black."""

SERIES = ("#2A639F", "#D45700", "#2A9468", "#C773B7", "#1298FF")
"""Each has a contrast of 3 or more on both backgrounds; apart for usual, protan, deutan and tritan sight alike."""
GREY = "#808690"
FAINT = "rgba(128, 134, 144, 0.45)"
SCALES = {
    "light": ("#B4B9C2", "#6FA8DC", "#1068C0"),
    "dark": ("#4A5160", "#3F7DBB", "#6CBBFF"),
}
"""For ordered values, evenly spaced: from what recedes to what stands out."""
ALARM = "#D45700"
BACKGROUNDS = {"light": "#FFFFFF", "dark": "#0E1117"}
"""Of the pages, as the theme has them."""

STAR = "path://M5,0L6.4,3.6L10,3.8L7.2,6.2L8.1,10L5,7.9L1.9,10L2.8,6.2L0,3.8L3.6,3.6Z"
CROSS = "path://M0,1L1,0L5,4L9,0L10,1L6,5L10,9L9,10L5,6L1,10L0,9L4,5Z"
SYMBOLS = ("circle", "diamond", "rect", "triangle", STAR)
DASHES: tuple[str | tuple[int, ...], ...] = ("solid", (7, 5), (2, 3), (8, 4, 2, 4), (14, 6))
"""Lengths of lines and gaps in pixels."""
STATES = {
    "complete": (SERIES[0], "circle", True),
    "running": (SERIES[2], "triangle", True),
    "stopped": (GREY, "rect", False),
    "failed": (SERIES[1], CROSS, True),
    "waiting": (GREY, "circle", False),
}
"""Colour and symbol of a trial's state, and whether it is filled: never colour alone."""


def colour(place: int) -> str:
    """Return the colour of the series at this place; they come round again, with another mark."""
    return SERIES[place % len(SERIES)]


def symbol(place: int) -> str:
    """Return the symbol of the series at this place: a different one each time the colours come round."""
    return SYMBOLS[(place + place // len(SERIES)) % len(SYMBOLS)]


def dash(place: int) -> str | tuple[int, ...]:
    """Return the dash of the series at this place: a different one each time the colours come round."""
    return DASHES[(place // len(SERIES)) % len(DASHES)]

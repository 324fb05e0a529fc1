"""What all figures share. Text colours and backgrounds are left to the page's theme, light or dark."""

from collections.abc import Sequence

import plotly.graph_objects as go

from palette import BAND, FAINT, STATES
from words import label

HEIGHT = 420
POINTS_MOST = 2000
"""Points of one figure: more cost the browser seconds and cover each other."""


def figure(x: str = "", y: str = "", height: int = HEIGHT) -> go.Figure:
    """Return an empty figure with its legend above; titles stand for themselves."""
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 10, "r": 16, "t": 40, "b": 10},
            "hovermode": "closest",
            # The same word from one refresh to the next: what was zoomed and switched off stays so.
            "uirevision": f"{x} {y}",
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "title": {"text": ""}},
            "xaxis": {"title": {"text": label(x)}, "automargin": True, "zeroline": False},
            "yaxis": {"title": {"text": label(y)}, "automargin": True, "zeroline": False},
        }
    )


def percent_axis(given: go.Figure, axis: str = "yaxis", digits: int = 0) -> None:
    """Show an axis of shares as percent."""
    given.update_layout({axis: {"tickformat": f".{digits}%", "hoverformat": ".1%"}})


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float], name: str) -> go.Scatter:
    """Return the filled space between two lines."""
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=BAND,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
    )


def state_marker(state: str, size: int = 8) -> dict[str, object]:
    """Return the marker of a trial's state: colour and shape."""
    colour, symbol = STATES[state]
    return {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1, "color": colour}}


def reference_line(given: go.Figure, at: float, text: str, vertical: bool = False) -> None:
    """Draw a thin line across the figure, with a word at its end."""
    style = {"line": {"color": FAINT, "width": 1.5, "dash": "dot"}, "annotation_text": text}
    if vertical:
        given.add_vline(x=at, annotation_position="top", **style)
    else:
        given.add_hline(y=at, annotation_position="bottom right", **style)

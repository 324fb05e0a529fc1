"""Estimates with their intervals, one a line; and how retention grows with size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts.style import band, figure, percent_axis, reference_line
from limbeck.compare import ScalingCurve
from palette import GREY, SERIES, colour, dash, symbol
from words import label


@dataclass(frozen=True)
class Line:
    """One estimate. Without a mean the line stays empty and says why."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    strong: bool = False
    """Drawn filled: told from zero after adjustment."""
    note: str = ""
    series: str = ""
    link: str | None = None


def effects(lines: Sequence[Line], title: str) -> go.Figure:
    """Return differences in percentage points around zero, first line on top."""
    out = figure(title, height=130 + 44 * len(lines))
    names = [label(line.name, 40) for line in lines]
    for strong, word in ((True, "adjusted p < 0.05"), (False, "not told from zero")):
        part = [i for i, line in enumerate(lines) if line.mean is not None and line.strong is strong]
        if part:
            out.add_trace(_dots([lines[i] for i in part], [names[i] for i in part], word, strong))
    for name, line in zip(names, lines, strict=True):
        if line.mean is None:
            out.add_annotation(
                x=0, y=name, text=label(line.note), showarrow=False, font={"color": GREY}, xanchor="left"
            )
    reference_line(out, 0.0, "no difference", vertical=True)
    out.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.4])
    return out


def _dots(lines: Sequence[Line], names: Sequence[str], word: str, strong: bool) -> go.Scatter:
    hue = SERIES[0] if strong else GREY
    x = [100 * (line.mean or 0.0) for line in lines]
    return go.Scatter(
        x=x,
        y=names,
        mode="markers",
        name=word,
        error_x=_whiskers(lines, 100.0, hue),
        marker={
            "size": 11,
            "color": hue,
            "symbol": "circle" if strong else "circle-open",
            "line": {"width": 2, "color": hue},
        },
        customdata=[label(line.note, 120) for line in lines],
        hovertemplate="%{y}: %{x:+.2f} points<br>%{customdata}<extra></extra>",
    )


def _whiskers(lines: Sequence[Line], scale: float, hue: str) -> dict[str, object]:
    def reach(line: Line, end: float | None) -> float:
        known = end is not None and line.mean is not None and np.isfinite(end)
        return scale * abs(end - line.mean) if known else 0.0  # type: ignore[operator]

    return {
        "type": "data",
        "symmetric": False,
        "array": [reach(line, line.high) for line in lines],
        "arrayminus": [reach(line, line.low) for line in lines],
        "color": hue,
        "thickness": 2,
        "width": 5,
    }


def retentions(panels: Mapping[str, Sequence[Line]]) -> go.Figure:
    """Return one panel a test set, one line a student; the teacher is the line at 100 %."""
    names = [label(line.name, 44) for line in next(iter(panels.values()))]
    series = list(dict.fromkeys(line.series for lines in panels.values() for line in lines))
    titles = [label(split if split == "test" else f"{split}, other domain") for split in panels]
    out = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=titles)
    for column, lines in enumerate(panels.values(), 1):
        for place, one in enumerate(series):
            part = [(line, name) for line, name in zip(lines, names, strict=True) if line.series == one]
            there = [(line, name) for line, name in part if line.mean is not None]
            if there:
                out.add_trace(_kept(there, label(one), place, column == 1), 1, column)
        out.add_vline(x=1.0, line={"color": GREY, "width": 1.5, "dash": "dot"}, row=1, col=column)
    out.update_xaxes(tickformat=".0%", zeroline=False)
    out.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0}
    return out.update_layout(
        height=140 + 32 * len(names),
        margin={"l": 10, "r": 16, "t": 70, "b": 10},
        legend=legend,
        hovermode="closest",
        uirevision="retentions",
    )


def _kept(there: Sequence[tuple[Line, str]], name: str, place: int, legend: bool) -> go.Scatter:
    lines = [line for line, _ in there]
    return go.Scatter(
        x=[line.mean for line in lines],
        y=[label for _, label in there],
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=legend,
        error_x=_whiskers(lines, 1.0, colour(place)),
        marker={"size": 10, "color": colour(place), "symbol": symbol(place)},
        customdata=[[line.link, label(line.note, 120)] for line in lines],
        hovertemplate="%{x:.1%} of the teacher<br>%{customdata[1]}<extra>%{y}</extra>",
    )


def scaling(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]], curves: Mapping[str, ScalingCurve], x_title: str
) -> go.Figure:
    """Return each series' (sizes, values) with its fitted line; the band is drawn for a single series only."""
    out = figure(x_title, "retention")
    for place, (name, (sizes, values)) in enumerate(points.items()):
        out.add_trace(
            go.Scatter(
                x=sizes,
                y=values,
                mode="markers",
                name=label(name),
                legendgroup=name,
                marker={"color": colour(place), "symbol": symbol(place), "size": 8, "opacity": 0.8},
                hovertemplate="%{y:.1%} at %{x:.3s} parameters<extra>" + label(name) + "</extra>",
            )
        )
        if name in curves:
            at = np.geomspace(sizes.min(), sizes.max(), 40)
            fit, low, high = curves[name].band(at)
            if len(curves) == 1:
                out.add_trace(band(at.tolist(), low.tolist(), high.tolist(), "95 % of its mean"))
            line = {"color": colour(place), "dash": dash(place), "width": 2}
            out.add_trace(go.Scatter(x=at, y=fit, mode="lines", line=line, legendgroup=name, showlegend=False))
    percent_axis(out)
    out.update_xaxes(type="log")
    return out

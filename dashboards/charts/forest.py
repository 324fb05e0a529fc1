"""Estimates with their intervals, one a line; and how retention grows with size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charts import style
from charts.style import Chart, Option
from limbeck.compare import ScalingCurve
from palette import GREY, SERIES, colour, dash, symbol
from words import label

NAMES_SHARE = 0.26
"""Of the width, for the names beside several panels."""


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


def effects(lines: Sequence[Line], title: str) -> Chart:
    """Return differences in percentage points around zero, first line on top."""
    series: list[Option] = []
    for strong, word in ((True, "adjusted p < 0.05"), (False, "not told from zero")):
        part = [(i, line) for i, line in enumerate(lines) if line.mean is not None and line.strong is strong]
        if part:
            hue = SERIES[0] if strong else GREY
            data = [
                (*style.PERCENT.of([line.mean]), i, None, label(line.name), label(line.note, 120), signed(line.mean))
                for i, line in part
            ]
            look = style.mark(hue, "circle", 12, filled=strong)
            series.append(style.points(word, data, "{@[3]}: {@[5]} points<br>{@[4]}", look, z=3))
            series.append(style.whiskers(word, reaches(part), hue))
    empty = [(0, i, None, label(line.note)) for i, line in enumerate(lines) if line.mean is None]
    if empty:
        told = {"show": True, "formatter": "{@[3]}", "position": "right", "color": GREY}
        look = {"symbol": "circle", "symbolSize": 0, "silent": True}
        series.append(style.points("missing", empty, "", look, label=told))
    series.append(style.reference_line(0.0, "no difference"))
    names = style.names_axis([label(line.name, 60) for line in lines])
    out = style.figure(style.axis(title), names, series, zoom=False, top=58)
    shown = list(dict.fromkeys(one["name"] for one in series if one.get("name") not in (None, "missing")))
    out["legend"]["data"] = shown
    out["grid"]["right"] = 44
    return Chart(out, 120 + 44 * len(lines))


def signed(share: float | None) -> str:
    """Return a difference of shares in points."""
    return "" if share is None else f"{100 * share:+.2f}".replace("-", "\u2212")


def reaches(lines: Sequence[tuple[int, Line]]) -> list[tuple[float, float, int]]:
    """Return (low, high, place) in percent; an end that is not known reaches nowhere."""
    found = []
    for place, line in lines:
        if line.mean is not None:
            low, high = (end if known(end) else line.mean for end in (line.low, line.high))
            found.append((round(100 * low, 4), round(100 * high, 4), place))  # type: ignore[operator]
    return [reach for reach in found if reach[0] < reach[1]]


def known(end: float | None) -> bool:
    return end is not None and math.isfinite(end)


def retentions(panels: Mapping[str, Sequence[Line]]) -> Chart:
    """Return one panel a test set, one line a student; the teacher is the line at 100 %."""
    first = next(iter(panels.values()))
    kinds = list(dict.fromkeys(line.series for lines in panels.values() for line in lines))
    titles = [label(split if split == "test" else f"{split}, other domain") for split in panels]
    width = (1 - NAMES_SHARE) / len(panels)
    out: Option = {**style.shared(), "title": [], "grid": [], "xAxis": [], "yAxis": [], "series": []}
    for column, (title, lines) in enumerate(zip(titles, panels.values(), strict=True)):
        left = NAMES_SHARE + column * width
        begin = left if column else 0.0
        # Only the first panel has names; its grid reaches over their place, too.
        out["grid"].append(
            {
                "left": f"{100 * begin:.1f}%",
                "width": f"{100 * (left - begin + width) - 2:.1f}%",
                "top": 66,
                "bottom": 4,
                "outerBoundsMode": "same",
            }
        )
        place = {"left": f"{100 * (left + width / 2) - 1:.1f}%", "top": 32, "textAlign": "center"}
        out["title"].append({"text": title, **place, "textStyle": {"fontSize": style.TITLE_FONT}})
        out["xAxis"].append(style.axis("", style.PERCENT, gridIndex=column))
        names = {**style.names_axis([label(line.name, 60) for line in first]), "gridIndex": column}
        if column:
            names["axisLabel"] = {"show": False}
        out["yAxis"].append(names)
        at = {"xAxisIndex": column, "yAxisIndex": column}
        for number, kind in enumerate(kinds):
            out["series"] += _kept([(i, one) for i, one in enumerate(lines) if one.series == kind], kind, number, at)
        out["series"].append(style.reference_line(100.0, **at))
    out["legend"]["data"] = [label(kind) for kind in kinds]
    return Chart(out, 120 + 36 * len(first))


def _kept(lines: Sequence[tuple[int, Line]], kind: str, place: int, at: Option) -> list[Option]:
    there = [(i, line) for i, line in lines if line.mean is not None]
    if not there:
        return []
    data = [
        (*style.PERCENT.of([line.mean], 4), i, line.link, label(line.name), label(line.note, 120)) for i, line in there
    ]
    look = style.mark(colour(place), symbol(place), 11)
    tooltip = "{@[3]}<br>{@[0]} % of the teacher<br>{@[4]}"
    shown = style.leading(style.points(label(kind), data, tooltip, look, z=3, **at))
    return [shown, style.whiskers(label(kind), reaches(there), colour(place), **at)]


def scaling(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]], curves: Mapping[str, ScalingCurve], x_title: str
) -> Chart:
    """Return each series' (sizes, values) with its fitted line; its band is drawn for a single series only."""
    series: list[Option] = []
    for place, (name, (sizes, values)) in enumerate(points.items()):
        data = list(zip(style.MILLIONS.of(sizes), style.PERCENT.of(values), strict=True))
        look = style.mark(colour(place), symbol(place), 9)
        series.append(style.points(label(name), data, "{@[1]} % at {@[0]} M parameters<br>{a}", look, z=3))
        if name in curves:
            at = np.geomspace(sizes.min(), sizes.max(), 40)
            fit, low, high = curves[name].band(at)
            x = style.MILLIONS.of(at)
            drawn = [(label(name), fit, colour(place), dash(place))]
            if len(curves) == 1:
                drawn += [("95 % of its mean", edge, GREY, (2, 3)) for edge in (low, high)]
            for called, y, hue, dashes in drawn:
                pairs = list(zip(x, style.PERCENT.of(y), strict=True))
                series.append(style.bare(style.line(called, pairs, "", hue, dashes)))
    every = 1e-6 * np.concatenate([sizes for sizes, _ in points.values()])
    x = style.log_axis(x_title, every, style.MILLIONS)
    return Chart(style.figure(x, style.axis("retention", style.PERCENT), series, zoom=False))

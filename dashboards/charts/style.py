"""What all figures share. Text colours and backgrounds are left to the page's theme, light or dark.

ECharts, because a browser has it up in a fraction of the time that Plotly takes. It writes numbers as they are: they
are sent in the unit and with the digits they are shown with. All text is text to it, but for the templates of tooltips,
which are HTML: no template holds anything from data.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from palette import FAINT, STATES
from words import is_share, label

Option = dict[str, Any]
HEIGHT = 420
POINTS_MOST = 2000
"""Points of one figure: more cost the browser seconds and cover each other."""
KEY = 2
"""The place in a point's values of what it leads to, behind x and y."""
TITLE_FONT = 14
NAME_WIDTH_MOST = 250
"""Pixels."""


@dataclass(frozen=True)
class Chart:
    """A figure: what `st.echarts_chart` draws, and how high, in pixels."""

    option: Option
    height: int = HEIGHT

    def picked(self, selected: Sequence[Mapping[str, Any]]) -> str | None:
        """Return what the first chosen point leads to, from the groups of points that Streamlit reports."""
        for group in selected:
            data = self.option["series"][group["series_index"]]["data"]
            for place in group["data_indices"]:
                if place < len(data) and len(data[place]) > KEY and data[place][KEY]:
                    return str(data[place][KEY])
        return None


class Unit(NamedTuple):
    """What a number is shown in."""

    factor: float
    sign: str

    def of(self, values: Iterable[Any], digits: int = 5) -> list[float | None]:
        """Return values in this unit, with as many digits as are shown; None for what is no number."""
        return [rounded(self.factor * v, digits) if v is not None else None for v in values]


PLAIN, PERCENT, MILLIONS = Unit(1.0, ""), Unit(100.0, " %"), Unit(1e-6, " M")


def unit(metric: str) -> Unit:
    """Return what a metric is shown in."""
    last = metric.rpartition(":")[2]
    return PERCENT if is_share(last) else MILLIONS if last.endswith(("parameters", "_embedding")) else PLAIN


def rounded(value: float, digits: int = 5) -> float | None:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def axis(title: str = "", shown_in: Unit = PLAIN, **more: Any) -> Option:
    """Return an axis of numbers that need not begin at zero."""
    named: Option = {}
    if title:
        named = {
            "name": label(title),
            "nameLocation": "middle",
            "nameGap": 26,
            "nameTextStyle": {"fontSize": TITLE_FONT},
        }
    return {"type": "value", "scale": True, "axisLabel": {"formatter": "{value}" + shown_in.sign}, **named, **more}


def of_setting(values: Sequence[float]) -> tuple[str, Unit]:
    """Return what the values of a setting are shown in, also as a word behind its name: small ones in 1e-3, 1e-6, …"""
    most = max(map(abs, values), default=1.0)
    if not 0 < most < 0.01:
        return "", PLAIN
    power = 3 * math.floor(math.log10(most) / 3)
    return f" (1e{power})", Unit(float(f"1e{-power}"), "")


def whole(values: Sequence[float]) -> Option:
    """Return what keeps an axis of whole numbers to them."""
    return {"minInterval": 1} if all(value == round(value) for value in values) else {}


def logarithmic(values: np.ndarray) -> Option:
    """Return what makes an axis logarithmic: round ticks, also where there are no powers of ten between the ends."""
    low, high = float(np.log10(values.min())), float(np.log10(values.max()))
    spare = 0.04 * (high - low)
    low, high = low - spare, high + spare
    powers = range(math.floor(low), math.ceil(high) + 1)
    digits = (1, 2, 3, 4, 5, 6, 8) if high - low < 1 else (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    inside = [tick for tick in ticks if 10**low <= tick <= 10**high]
    ends = {"min": rounded(10**low), "max": rounded(10**high)}
    return {"type": "log", **ends, "axisTick": {"customValues": inside}, "splitLine": {"show": False}, "ticks": inside}


def log_axis(title: str, values: np.ndarray, shown_in: Unit = PLAIN) -> Option:
    """Return a logarithmic axis over these values."""
    more = logarithmic(values)
    out = axis(title, shown_in, **more)
    out["axisLabel"]["customValues"] = out.pop("ticks")
    return out


def names_axis(names: Sequence[str]) -> Option:
    """Return an axis with a name a line, the first on top; long names are broken."""
    width = min(NAME_WIDTH_MOST, 8 + 6.5 * max(map(len, names), default=0))
    return {
        "type": "category",
        "data": list(names),
        "inverse": True,
        "axisLabel": {"width": width, "overflow": "break", "lineHeight": 14, "interval": 0},
        "axisTick": {"show": False},
        "axisLine": {"show": False},
        "splitLine": {"show": True},
    }


def figure(x: Option, y: Option, series: Sequence[Option], *, zoom: bool = True, top: int = 40) -> Option:
    """Return a figure of one panel with its legend above."""
    out: Option = {
        **shared(),
        "grid": {"left": 4, "right": 24, "top": top, "bottom": 4, "outerBoundsMode": "same"},
        "xAxis": x,
        "yAxis": y,
        "series": list(series),
    }
    curves = sum(one["type"] == "line" and not one.get("silent") for one in series)
    if 2 * curves > len(series):
        # Wide enough to tell dashes.
        out["legend"]["itemWidth"] = 28
    if zoom:
        out["dataZoom"] = [{"type": "inside", f"{side}AxisIndex": 0, "filterMode": "none"} for side in "xy"]
    return out


def shared() -> Option:
    """Return what figures of one panel and of several have alike."""
    return {
        "animation": False,
        "legend": {"top": 0, "left": 0, "type": "scroll", "itemWidth": 13, "itemHeight": 11, "padding": [4, 40, 4, 4]},
        "tooltip": {"trigger": "item", "confine": True},
    }


def points(name: str, data: Sequence[Sequence[object]], tooltip: str, mark: Option, **more: Any) -> Option:
    """Return single points; with `leads`, each leads to what stands third in it."""
    return {"type": "scatter", "name": name, "data": list(data), "tooltip": {"formatter": tooltip}, **mark, **more}


def leading(series: Option) -> Option:
    """Return a series whose points can be chosen."""
    return {**series, "selectedMode": "single"}


def line(
    name: str,
    data: Sequence[Sequence[object]],
    tooltip: str,
    colour: str,
    dash: str | tuple[int, ...] = "solid",
    **more: Any,
) -> Option:
    """Return points joined by a line."""
    style = {"color": colour, "type": dash, "width": 2}
    return {
        "type": "line",
        "name": name,
        "data": list(data),
        "tooltip": {"formatter": tooltip},
        "lineStyle": style,
        "itemStyle": {"color": colour},
        "symbolSize": 6,
        **more,
    }


def bare(series: Option) -> Option:
    """Return a line without points that does not answer to the mouse."""
    return {**series, "showSymbol": False, "silent": True, "tooltip": {"show": False}}


def whiskers(name: str, ends: Sequence[tuple[float, float, int]], colour: str, **more: Any) -> Option:
    """Return a line from low to high on each line of names, with caps."""
    data: list[Sequence[object]] = []
    for low, high, place in ends:
        data += [(low, place), (high, place), (None, None)]
    out = line(name, data, "", colour, symbol="rect", **more)
    return {**out, "symbolSize": [2, 10], "showSymbol": True, "silent": True, "tooltip": {"show": False}, "z": 1}


def mark(colour: str, symbol: str, size: int, filled: bool = True) -> Option:
    """Return the look of points."""
    style = {"color": colour if filled else "transparent", "borderColor": colour, "borderWidth": 1 if filled else 1.5}
    return {"symbol": symbol, "symbolSize": size, "itemStyle": style}


def state_mark(state: str, size: int = 7) -> Option:
    """Return the look of a trial's state."""
    colour, symbol, filled = STATES[state]
    return mark(colour, symbol, size, filled)


def reference_line(at: float, text: str = "", row: int = 0, **more: Any) -> Option:
    """Return a thin line down the figure at `at`, with a word on top; the axis reaches to it."""
    return {
        "type": "scatter",
        "data": [(at, row)],
        "symbolSize": 0,
        "silent": True,
        "tooltip": {"show": False},
        "markLine": {
            "silent": True,
            "symbol": "none",
            "data": [{"xAxis": at}],
            "lineStyle": {"color": FAINT, "width": 1.5, "type": (2, 3)},
            "label": {"show": bool(text), "formatter": text, "position": "start"},
        },
        **more,
    }

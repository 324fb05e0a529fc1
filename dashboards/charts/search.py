"""How a search went: its history, what its values did, which of them mattered, and what is worth its price."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from charts import style
from charts.style import Chart, Option
from palette import BACKGROUNDS, FAINT, GREY, SCALES, SERIES
from words import label, metric_title, short_paths, value_text

STATES_SHOWN = ("complete", "running", "stopped", "failed")
PANELS_A_ROW = 3
PANEL_HEIGHT, PANEL_GAP, PANELS_TOP = 200, 56, 40
"""Pixels: of a panel of slices, below it for its values and title, and above all for the legend."""
FEW = 200
"""Points up to here are drawn one by one."""


def history(frame: pd.DataFrame, objective: str, way: str) -> Chart:
    """Return every trial's objective by number, its state as a mark, and the best so far as a step line."""
    told = style.unit(objective)
    column = f"objective:{objective}"
    seen = frame[frame[column].notna()] if column in frame else frame.iloc[:0]
    complete = seen[seen["state"] == "complete"].sort_values("number")
    best = complete[column].cummin() if way == "min" else complete[column].cummax()
    steps = complete[best.diff().fillna(1) != 0] if len(complete) else complete
    series: list[Option] = []
    for state in STATES_SHOWN:
        part = seen[seen["state"] == state]
        if len(part):
            tooltip = f"{{@[1]}}{told.sign}, trial number {{@[0]}}<br>{{@[2]}}, {word(state)}"
            series.append(as_one(_points(part, ("number", column), (style.PLAIN, told), state, tooltip)))
    if len(steps):
        x = [*steps["number"].tolist(), int(frame["number"].max())]
        y = told.of([*best[steps.index], best.iloc[-1]])
        joined = style.line("best so far", list(zip(x, y, strict=True)), "", SERIES[3], step="end", z=3)
        series.append(style.bare(joined))
    return Chart(style.figure(style.axis("trial number"), style.axis(metric_title(objective), told), series))


def word(state: str) -> str:
    return "stopped early" if state == "stopped" else state


def _points(
    part: pd.DataFrame, columns: tuple[str, str], units: tuple[style.Unit, style.Unit], state: str, tooltip: str
) -> Option:
    """Return trials as points that lead to them."""
    values = [told.of(part[column]) for column, told in zip(columns, units, strict=True)]
    data = list(zip(*values, part["trial"].tolist(), strict=True))
    return style.leading(style.points(word(state), data, tooltip, style.state_mark(state)))


def as_one(series: Option) -> Option:
    """Return points that share a look so that thousands cost the browser as much as a few.

    Each still answers to the mouse, but for the shape of its pointer. Marks of our own making cannot be drawn so.
    """
    if series["symbol"].startswith("path://"):
        return series
    return {**series, "large": True, "largeThreshold": FEW}


def is_numeric(values: pd.Series) -> bool:
    """Say whether every value that is there is a number."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return bool(values.notna().any())
    there = values.dropna()
    return len(there) > 0 and all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in there)


def is_logarithmic(values: pd.Series) -> bool:
    """Say whether numbers spread over so many powers of ten that a logarithmic axis shows them."""
    there = values.dropna()
    return is_numeric(values) and there.min() > 0 and there.max() / there.min() >= 20 and there.nunique() > 4


def distinct(values: pd.Series) -> list[Any]:
    """Return the values that occur: numbers by size, then words by the alphabet."""
    return sorted(values.dropna().unique().tolist(), key=lambda value: (isinstance(value, str), value))


def parallel(frame: pd.DataFrame, paths: Sequence[str], objective: str, way: str, theme: str) -> Chart:
    """Return parallel coordinates of the varied values, coloured by the objective; drag along an axis to filter.

    Where rows cover each other the first is on top.
    """
    score = frame[f"objective:{objective}"]
    told = style.unit(objective)
    ends = short_paths(list(paths))
    found = [_dimension(frame[f"value:{path}"], label(ends[path], 24)) for path in paths]
    found.append((told.of(score), style.axis(label(metric_title(objective), 24), told)))
    # The worst twentieth share a colour, so that few of them do not take most of the scale.
    spread = (score.min(), score.quantile(0.95)) if way == "min" else (score.quantile(0.05), score.max())
    low, high = told.of([float(end) for end in spread], 3)
    colours = SCALES[theme][::-1] if way == "min" else SCALES[theme]
    axes = [
        {
            **axis,
            "dim": place,
            "nameLocation": "end",
            "nameGap": 14,
            "nameTextStyle": {"fontSize": 12},
            "splitLine": {"show": False},
            "axisLine": {"lineStyle": {"color": GREY, "width": 1.5}},
            # Outlined with the background, so that lines do not run through words.
            "axisLabel": {
                **axis["axisLabel"],
                **{"textBorderColor": BACKGROUNDS[theme], "textBorderWidth": 3, "fontSize": 12},
            },
            "z": 10,
        }
        for place, (_, axis) in enumerate(found)
    ]
    data = list(zip(*(values for values, _ in found), strict=True))[::-1]
    option: Option = {
        "animation": False,
        "parallel": {"left": 50, "right": 130, "top": 44, "bottom": 20},
        "parallelAxis": axes,
        "visualMap": {
            "type": "continuous",
            "dimension": len(paths),
            "min": low,
            "max": high,
            "text": [f"{high}{told.sign}", f"{low}{told.sign}"],
            "inRange": {"color": list(colours)},
            "right": 0,
            "top": "middle",
            "itemHeight": 240,
            "itemWidth": 12,
        },
        "series": [
            {
                "type": "parallel",
                "data": data,
                "lineStyle": {"width": 1.2, "opacity": 0.55},
                "inactiveOpacity": 0.03,
                "activeOpacity": 0.9,
                "silent": True,
                "progressive": 0,
            }
        ],
    }
    return Chart(option, 460)


def _dimension(values: pd.Series, title: str) -> tuple[list[object], Option]:
    """Return what lines cross an axis at, and the axis."""
    if is_numeric(values):
        few = sorted(set(values.dropna()))
        if len(few) > 8:
            more, told = style.of_setting(few)
            numbers = told.factor * np.array(few, float)
            return told.of(values), _numbers(title + more, numbers, is_logarithmic(values))
        texts = [value_text(value) for value in few]
        return [None if pd.isna(v) else texts.index(value_text(v)) for v in values], _choices(texts, title)
    codes, names = _coded(values)
    return codes, _choices(names, title)


def _coded(values: pd.Series) -> tuple[list[Any], list[str]]:
    """Return each value's place among those that occur, and how these read; last is what is not there."""

    def text(value: object) -> str:
        return "–" if pd.isna(value) else label(value_text(value), 18)

    absent = [math.nan] if values.isna().any() else []
    names = list(dict.fromkeys(map(text, [*distinct(values), *absent])))
    return pd.Index(names).get_indexer(list(map(text, values))).tolist(), names


def _numbers(title: str, values: np.ndarray, logarithmic: bool) -> Option:
    if logarithmic:
        return style.log_axis(title, values)
    return style.axis(title, **style.whole(values.tolist()))


def _choices(words: Sequence[str], title: str) -> Option:
    return {"type": "category", "data": list(words), "name": title, "axisLabel": {"interval": 0}}


def slices(frame: pd.DataFrame, paths: Sequence[str], objective: str) -> Chart:
    """Return the objective over each varied value, small multiples with one scale."""
    columns = min(PANELS_A_ROW, len(paths))
    told = style.unit(objective)
    column = f"objective:{objective}"
    ends = short_paths(list(paths))
    seen = frame[frame[column].notna()]
    y = {**style.axis("", told), **_ends(told.of(seen[column]))}
    out: Option = {**style.shared(), "grid": [], "xAxis": [], "yAxis": [], "series": []}
    for place, path in enumerate(paths):
        row, at = divmod(place, columns)
        left, width = 100 * at / columns, 100 / columns
        top = PANELS_TOP + row * (PANEL_HEIGHT + PANEL_GAP)
        out["grid"].append(
            {
                **{"left": f"{left:.2f}%", "width": f"{width - 2:.2f}%", "top": top},
                **{"height": PANEL_HEIGHT + PANEL_GAP - 16, "outerBoundsMode": "same"},
            }
        )
        title = label(ends[path], 34)
        values = seen[f"value:{path}"]
        there = seen[values.notna()].assign(x=values.dropna())
        setting = style.PLAIN
        if is_numeric(values):
            numbers = there["x"].astype(float)
            more, setting = style.of_setting(numbers.tolist())
            x = _numbers(title + more, setting.factor * numbers.to_numpy(), is_logarithmic(values))
        else:
            codes, names = _coded(there["x"])
            there = there.assign(x=codes)
            x = {**style.axis(title), "type": "category", "data": names, "axisLabel": {}}
        out["xAxis"].append({**x, "gridIndex": place})
        named = style.axis(metric_title(objective), told) if at == 0 else style.axis("", told)
        out["yAxis"].append({**y, **named, "gridIndex": place})
        for state in ("complete", "stopped"):
            part = there[there["state"] == state]
            if len(part):
                tooltip = f"{{@[1]}}{told.sign}<br>{{@[2]}}, {word(state)}"
                series = _points(part, ("x", column), (setting, told), state, tooltip)
                at = {"xAxisIndex": place, "yAxisIndex": place, "z": 3 if state == "complete" else 2}
                out["series"].append(as_one({**series, "symbolSize": 5, **at}))
    rows = -(-len(paths) // columns)
    return Chart(out, PANELS_TOP + rows * (PANEL_HEIGHT + PANEL_GAP))


def _ends(values: Sequence[float | None]) -> Option:
    """Return round ends for an axis that several panels share."""
    there = [value for value in values if value is not None]
    low, high = min(there), max(there)
    step = 10.0 ** np.floor(np.log10(max(high - low, 1e-9)))
    return {"min": style.rounded(np.floor(low / step) * step), "max": style.rounded(np.ceil(high / step) * step)}


def importances(shares: Mapping[str, float]) -> Chart:
    """Return one bar a varied value, the most important on top."""
    order = sorted(shares, key=shares.__getitem__, reverse=True)
    ends = short_paths(order)
    data = [
        (round(100 * shares[path], 1), i, f"{100 * shares[path]:.0f}", label(path, 80)) for i, path in enumerate(order)
    ]
    bars: Option = {
        "type": "bar",
        "data": data,
        "itemStyle": {"color": SERIES[0]},
        "barWidth": "60%",
        "label": {"show": True, "position": "right", "formatter": "{@[2]} %"},
        "tooltip": {"formatter": "{@[3]}: {@[0]} %"},
        "cursor": "default",
    }
    x = style.axis("share of what separates the best from the rest", style.PERCENT, scale=False)
    out = style.figure(x, style.names_axis([label(ends[path], 60) for path in order]), [bars], zoom=False, top=8)
    out["grid"]["right"] = 56
    return Chart(out, 90 + 34 * len(order))


def front(frame: pd.DataFrame, x: str, y: str, titles: tuple[str, str], way: str) -> Chart:
    """Return complete trials by price and result; those that no other beats in both are joined by a line.

    The price is to be low, the result what `way` says.
    """
    units = style.unit(x), style.unit(y)
    place = pareto(frame[x].to_numpy(float), frame[y].to_numpy(float), best_y=way)
    lead = frame.iloc[place].sort_values(x)
    rest = frame.drop(index=frame.index[place])
    tooltip = f"{{@[1]}}{units[1].sign} at {{@[0]}}{units[0].sign}<br>{{@[2]}}"
    series: list[Option] = []
    if len(rest):
        one = _points(rest, (x, y), units, "complete", tooltip)
        series.append(as_one({**one, "name": "other trials", **style.mark(FAINT, "circle", 7)}))
    one = _points(lead, (x, y), units, "complete", tooltip)
    joined = style.line("front", one["data"], tooltip, SERIES[0], step="end", symbol="circle", z=3)
    series.append(style.leading({**joined, "symbolSize": 10}))
    far = frame[x].min() > 0 and frame[x].max() / frame[x].min() >= 20
    prices = units[0].factor * frame[x].to_numpy(float)
    across = style.log_axis(titles[0], prices, units[0]) if far else style.axis(titles[0], units[0])
    return Chart(style.figure(across, style.axis(titles[1], units[1]), series))


def pareto(x: np.ndarray, y: np.ndarray, best_x: str = "min", best_y: str = "max") -> list[int]:
    """Return the places that no other place beats, the one with the best x first."""
    costs_x, costs_y = (values if way == "min" else -values for values, way in ((x, best_x), (y, best_y)))
    found: list[int] = []
    lowest = np.inf
    for i in np.lexsort((costs_y, costs_x)):
        if costs_y[i] < lowest:
            found.append(int(i))
            lowest = costs_y[i]
    return found

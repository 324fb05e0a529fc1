"""How a search went: its history, what its values did, which of them mattered, and what is worth its price."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from charts.style import figure, percent_axis, state_marker
from palette import BACKGROUNDS, FAINT, SCALES, SERIES
from words import is_share, label, metric_title, short_paths, value_text

STATES_SHOWN = ("complete", "running", "stopped", "failed")
MANY_CHOICES = 12


def history(frame: pd.DataFrame, objective: str, way: str) -> go.Figure:
    """Return every trial's objective by number, its state as a mark, and the best so far as a step line."""
    out = figure("trial number", metric_title(objective))
    column = f"objective:{objective}"
    seen = frame[frame[column].notna()] if column in frame else frame.iloc[:0]
    complete = seen[seen["state"] == "complete"].sort_values("number")
    best = complete[column].cummin() if way == "min" else complete[column].cummax()
    steps = complete[best.diff().fillna(1) != 0] if len(complete) else complete
    if len(steps):
        last = int(frame["number"].max())
        out.add_trace(
            go.Scatter(
                x=[*steps["number"], last],
                y=[*best[steps.index], best.iloc[-1]],
                mode="lines",
                name="best so far",
                line={"shape": "hv", "color": SERIES[3], "width": 2},
                hoverinfo="skip",
            )
        )
    for state in STATES_SHOWN:
        part = seen[seen["state"] == state]
        if len(part):
            out.add_trace(_points(part["number"], part[column], part["trial"], state))
    if is_share(objective):
        percent_axis(out)
    return out


def _points(x: pd.Series, y: pd.Series, trials: pd.Series, state: str) -> go.Scatter:
    word = "stopped early" if state == "stopped" else state
    return go.Scatter(
        x=x.to_numpy(),
        y=y.to_numpy(),
        # As an array: of a list Plotly looks at every item.
        customdata=trials.to_numpy(object),
        mode="markers",
        name=word,
        marker=state_marker(state, 7),
        hovertemplate="%{y} at %{x}<extra>%{customdata}, " + word + "</extra>",
    )


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


def parallel(frame: pd.DataFrame, paths: Sequence[str], objective: str, theme: str) -> go.Figure:
    """Return parallel coordinates of the varied values, coloured by the objective; drag along an axis to filter."""
    score = frame[f"objective:{objective}"]
    ends = short_paths(list(paths))
    dimensions = [_dimension(frame[f"value:{path}"], label(ends[path], 24)) for path in paths]
    dimensions.append({"label": label(metric_title(objective), 24), "values": score.to_numpy()})
    share = is_share(objective)
    if share:
        dimensions[-1]["tickformat"] = ".1%"
    low, high = float(score.quantile(0.05)), float(score.max())
    out = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": score.to_numpy(),
                "colorscale": SCALES[theme],
                "cmin": low,
                "cmax": max(high, low + 1e-9),
                "showscale": True,
                "colorbar": {"thickness": 12, "tickformat": ".1%" if share else None},
            },
            unselected={"line": {"opacity": 0.08}},
            labelangle=0 if len(dimensions) <= 6 else -12,
            labelfont={"size": 13},
            tickfont={"size": 12},
            # The ends of the axes are among their ticks.
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
        )
    )
    # The ticks are outlined with the background, so that lines do not run through them.
    return out.update_layout(
        height=460,
        margin={"l": 60, "r": 40, "t": 70, "b": 24},
        paper_bgcolor=BACKGROUNDS[theme],
        uirevision=objective,
    )


def _dimension(values: pd.Series, title: str) -> dict[str, object]:
    if is_logarithmic(values):
        logs = np.log10(values.astype(float))
        ticks = list(range(int(np.floor(logs.min())), int(np.ceil(logs.max())) + 1))
        return {
            "label": title,
            "values": logs.to_numpy(),
            "tickvals": ticks,
            "ticktext": [f"1e{t}" if abs(t) > 3 else f"{10.0**t:g}" for t in ticks],
        }
    if is_numeric(values):
        few = sorted(values.dropna().unique())
        ticks = {"tickvals": few, "ticktext": [value_text(v) for v in few]} if len(few) <= 8 else {"tickformat": ".3g"}
        return {"label": title, "values": values.astype(float).to_numpy(), **ticks}
    codes, words = pd.factorize(values.astype(str).where(values.notna(), "–"), sort=True)
    return {
        "label": title,
        "values": codes,
        "tickvals": list(range(len(words))),
        "ticktext": [label(word, 18) for word in words],
    }


def slices(frame: pd.DataFrame, paths: Sequence[str], objective: str) -> go.Figure:
    """Return the objective over each varied value, small multiples with one scale."""
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    ends = short_paths(list(paths))
    out = make_subplots(rows, columns, shared_yaxes=True, horizontal_spacing=0.03, vertical_spacing=0.24 / rows)
    column = f"objective:{objective}"
    for place, path in enumerate(paths):
        row, at = divmod(place, columns)
        values = frame[f"value:{path}"]
        numeric = is_numeric(values)
        for state in ("stopped", "complete"):
            here = (frame["state"] == state) & frame[column].notna() & values.notna()
            if not here.any():
                continue
            shown = values[here] if numeric else values[here].map(value_text).map(label)
            trace = _points(shown, frame.loc[here, column], frame.loc[here, "trial"], state)
            trace.update(showlegend=place == 0, legendgroup=state)
            trace.marker.size = 6
            out.add_trace(trace, row + 1, at + 1)
        title = label(ends[path], 34)
        kind = "log" if is_logarithmic(values) else "linear" if numeric else "category"
        ticks = {"dtick": 1, "exponentformat": "e"} if kind == "log" else {}
        out.update_xaxes(title_text=title, type=kind, row=row + 1, col=at + 1, zeroline=False, **ticks)
    out.update_yaxes(tickformat=".0%" if is_share(objective) else None, zeroline=False)
    out.update_yaxes(title_text=label(metric_title(objective)), col=1)
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0}
    out.update_layout(height=90 + 250 * rows, margin={"l": 10, "r": 16, "t": 40, "b": 10}, legend=legend)
    return out.update_layout(uirevision=objective)


def importances(shares: Mapping[str, float]) -> go.Figure:
    """Return one bar a varied value, the most important on top."""
    order = sorted(shares, key=shares.__getitem__)
    ends = short_paths(order)
    out = figure("share of what separates the best from the rest", height=120 + 34 * len(order))
    out.add_trace(
        go.Bar(
            x=[shares[path] for path in order],
            y=[label(ends[path], 40) for path in order],
            orientation="h",
            marker={"color": SERIES[0]},
            text=[f"{100 * shares[path]:.0f} %" for path in order],
            textposition="outside",
            cliponaxis=False,
            customdata=[label(path, 80) for path in order],
            hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
        )
    )
    percent_axis(out, "xaxis")
    return out


def front(frame: pd.DataFrame, x: str, y: str, titles: tuple[str, str]) -> go.Figure:
    """Return complete trials by price and result; those that no other beats in both are joined by a line."""
    out = figure(*titles)
    place = pareto(frame[x].to_numpy(float), frame[y].to_numpy(float))
    lead = frame.iloc[place].sort_values(x)
    rest = frame.drop(index=frame.index[place])
    if len(rest):
        trace = _points(rest[x], rest[y], rest["trial"], "complete")
        out.add_trace(trace.update(name="other trials", marker={"color": FAINT, "line": {"width": 0}}))
    trace = _points(lead[x], lead[y], lead["trial"], "complete")
    trace.update(mode="lines+markers", name="front", line={"shape": "hv", "color": SERIES[0]})
    trace.marker.size = 10
    out.add_trace(trace)
    if is_share(y.partition(":")[2] or y):
        percent_axis(out, digits=1)
    if frame[x].min() > 0 and frame[x].max() / frame[x].min() >= 20:
        out.update_xaxes(type="log")
    return out


def pareto(x: np.ndarray, y: np.ndarray, best_x: str = "min") -> list[int]:
    """Return the places that no other place beats: y as high as possible at the least (or most) x."""
    cost = x if best_x == "min" else -x
    found: list[int] = []
    highest = -np.inf
    for i in np.lexsort((-y, cost)):
        if y[i] > highest:
            found.append(int(i))
            highest = y[i]
    return found

"""What trials reported on their way, over student updates."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from charts.style import figure, percent_axis
from palette import FAINT, GREY, colour, dash, symbol
from words import is_share, label, metric_title

UPDATES = "student updates"


def learning(
    rows: pd.DataFrame, best: Sequence[str], names: Mapping[str, str], metric: str, ends: Mapping[str, str]
) -> go.Figure:
    """Return (trial, updates, value) rows as curves: the best in colour, all others grey; crosses end stopped ones.

    `names` are the best trials' labels, `ends` every trial's state.
    """
    out = figure(UPDATES, metric_title(metric))
    by_trial = dict(iter(rows.groupby("trial", sort=False)))
    out.add_trace(_many([part for trial, part in by_trial.items() if trial not in set(best)]))
    stopped = [part.iloc[-1] for trial, part in by_trial.items() if ends.get(str(trial)) == "stopped"]
    if stopped:
        out.add_trace(_ends(pd.DataFrame(stopped)))
    for place, trial in enumerate(best):
        if trial in by_trial:
            out.add_trace(_one(by_trial[trial], label(names[trial], 40), place, trial))
    if is_share(metric):
        percent_axis(out)
    return out


def overlaid(rows: pd.DataFrame, names: Mapping[str, str], metric: str) -> go.Figure:
    """Return one curve a trial, in the order of `names`."""
    out = figure(UPDATES, metric_title(metric))
    for place, (trial, name) in enumerate(names.items()):
        part = rows[rows["trial"] == trial]
        if not part.empty:
            out.add_trace(_one(part, label(name, 40), place, trial))
    if is_share(metric):
        percent_axis(out)
    return out


def metrics_over_updates(rows: pd.DataFrame, names: Sequence[str], title: str, height: int = 320) -> go.Figure:
    """Return (updates, name, value) rows of one trial as one line a metric."""
    out = figure(UPDATES, title, height)
    for place, name in enumerate(names):
        part = rows[rows["name"] == name]
        if not part.empty:
            out.add_trace(_one(part, label(metric_title(name.rpartition("/")[2] or name)), place, None))
    if names and all(map(is_share, names)):
        percent_axis(out)
    return out


def _one(part: pd.DataFrame, name: str, place: int, trial: str | None) -> go.Scatter:
    return go.Scatter(
        x=part["updates"].to_numpy(),
        y=part["value"].to_numpy(),
        name=name,
        mode="lines+markers",
        line={"color": colour(place), "dash": dash(place), "width": 2},
        marker={"symbol": symbol(place), "size": 6},
        customdata=None if trial is None else [trial] * len(part),
        hovertemplate="%{y} at update %{x}<extra>" + name + "</extra>",
    )


def _many(parts: Sequence[pd.DataFrame]) -> go.Scatter:
    """Return many curves as one trace with gaps: a thousand traces would choke the browser."""
    x: list[float | None] = []
    y: list[float | None] = []
    trials: list[str | None] = []
    for part in parts:
        x += [*part["updates"].tolist(), None]
        y += [*part["value"].tolist(), None]
        trials += [*part["trial"].tolist(), None]
    return go.Scatter(
        x=x,
        y=y,
        customdata=trials,
        name="other trials",
        mode="lines",
        line={"color": FAINT, "width": 1},
        connectgaps=False,
        hovertemplate="%{y} at update %{x}<extra>%{customdata}</extra>",
        visible=True if parts else "legendonly",
        showlegend=bool(parts),
    )


def _ends(last: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=last["updates"].to_numpy(),
        y=last["value"].to_numpy(),
        customdata=last["trial"].tolist(),
        name="stopped early",
        mode="markers",
        marker={"symbol": "x-thin", "size": 8, "line": {"width": 1.5, "color": GREY}},
        hovertemplate="stopped at update %{x}, %{y}<extra>%{customdata}</extra>",
    )

"""What trials reported on their way, over student updates."""

from collections.abc import Mapping, Sequence

import pandas as pd

from charts import style
from charts.style import Chart, Option
from palette import CROSS, FAINT, GREY, colour, dash, symbol
from words import label, metric_title

UPDATES = "student updates"


def learning(
    rows: pd.DataFrame, best: Sequence[str], names: Mapping[str, str], metric: str, ends: Mapping[str, str]
) -> Chart:
    """Return (trial, updates, value) rows as curves: the best in colour, all others grey; crosses end stopped ones.

    `names` are the best trials' labels, `ends` every trial's state.
    """
    told = style.unit(metric)
    by_trial = {str(trial): _points(part, told, str(trial)) for trial, part in rows.groupby("trial", sort=False)}
    others = [part for trial, part in by_trial.items() if trial not in set(best)]
    stopped = [part[-1] for trial, part in by_trial.items() if part and ends.get(trial) == "stopped"]
    series = [_many(others, told)] if others else []
    if stopped:
        tooltip = f"stopped at update {{@[0]}}, {{@[1]}}{told.sign}<br>{{@[2]}}"
        series.append(style.leading(style.points("stopped early", stopped, tooltip, style.mark(GREY, CROSS, 8), z=3)))
    for place, trial in enumerate(best):
        if trial in by_trial:
            series.append(style.leading(_one(by_trial[trial], label(names[trial], 40), place, told)))
    return _figure(series, metric_title(metric), told)


def overlaid(rows: pd.DataFrame, names: Mapping[str, str], metric: str) -> Chart:
    """Return one curve a trial, in the order of `names`."""
    told = style.unit(metric)
    series = []
    for place, (trial, name) in enumerate(names.items()):
        part = rows[rows["trial"] == trial]
        if not part.empty:
            series.append(_one(_points(part, told), label(name, 40), place, told))
    return _figure(series, metric_title(metric), told)


def metrics_over_updates(rows: pd.DataFrame, names: Sequence[str], title: str, height: int = 320) -> Chart:
    """Return (updates, name, value) rows of one trial as one line a metric; percent where all are shares."""
    units = {style.unit(name) for name in names}
    told = units.pop() if len(units) == 1 else style.PLAIN
    series = []
    for place, name in enumerate(names):
        part = rows[rows["name"] == name]
        if not part.empty:
            series.append(_one(_points(part, told), label(metric_title(name.rpartition("/")[2] or name)), place, told))
    return _figure(series, title, told, height)


def _figure(series: list[Option], title: str, told: style.Unit, height: int = style.HEIGHT) -> Chart:
    return Chart(style.figure(style.axis(UPDATES), style.axis(title, told), series), height)


def _points(part: pd.DataFrame, told: style.Unit, trial: str | None = None) -> list[tuple[object, ...]]:
    values = zip(part["updates"].tolist(), told.of(part["value"]), strict=True)
    return [(x, y) if trial is None else (x, y, trial) for x, y in values]


def _one(data: list[tuple[object, ...]], name: str, place: int, told: style.Unit) -> Option:
    tooltip = f"{{@[1]}}{told.sign} at update {{@[0]}}<br>{{a}}"
    return style.line(name, data, tooltip, colour(place), dash(place), symbol=symbol(place), z=4)


def _many(parts: Sequence[list[tuple[object, ...]]], told: style.Unit) -> Option:
    """Return many curves as one series with gaps: hundreds of series would choke the browser."""
    data: list[tuple[object, ...]] = []
    for part in parts:
        data += [*part, (None, None, None)]
    tooltip = f"{{@[1]}}{told.sign} at update {{@[0]}}<br>{{@[2]}}"
    out = style.leading(style.line("other trials", data, tooltip, FAINT, symbol="circle", z=2))
    return {**out, "lineStyle": {"color": FAINT, "width": 1}, "symbolSize": 4}

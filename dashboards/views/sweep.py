"""One sweep: who leads, how trials learned, what the search did, and what is worth its price."""

import time
from collections.abc import Callable

import pandas as pd
import streamlit as st

import data
import importance
import leaderboard
import links
import markup
import states
import widgets
import words
from charts import curves, search
from charts.style import POINTS_MOST, Chart
from limbeck.store import SweepRow

REFRESH_SECONDS = 5.0
BEST, OTHERS = 5, 120
AXES_MOST = 9
LINES_MOST = 400


def head(sweep: SweepRow) -> None:
    """State and numbers of the sweep."""
    frame = data.frame(sweep)
    name = next(iter(sweep.objectives), "retention")
    markup.numbers(
        [
            ("Finished", f"{sweep.finished:,} of {sweep.trials:,}"),
            ("Running", f"{sweep.counts.get('running', 0):,}"),
            ("Stopped early", f"{sweep.counts.get('stopped', 0):,}"),
            ("Failed", f"{sweep.failed:,}"),
            (f"Best {words.metric_title(name)}", words.number(sweep.best, name)),
            ("Training time", words.duration(float(frame["seconds"].sum()) or None)),
        ]
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        widgets.badge("silent" if data.silent(sweep, time.time()) else sweep.state)
        facts = [sweep.kind, f"on {words.literal(sweep.task)}", f"begun {words.moment(sweep.created)}"]
        st.markdown(" · ".join(facts))


def chart(figure: Chart, sweep: SweepRow, key: str, alt: str) -> None:
    """Show a figure whose points lead to their trials."""
    trial = widgets.pick_point(figure, key, alt)
    if trial is not None:
        links.open_trial(sweep.name, trial)


def objective(sweep: SweepRow) -> tuple[str, str]:
    """The plan's objective to look at; a choice where there are several."""
    names = list(sweep.objectives)
    name = names[0] if len(names) == 1 else widgets.pick_one("objective", "Objective", names)
    return name, sweep.objectives[name]


def thinned(frame: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """Return ranked trials, or the best half of what may be shown and an even choice of the rest, and a remark."""
    if len(frame) <= most:
        return frame, ""
    best, rest = data.spread_out(frame["trial"].tolist(), most // 2, most - most // 2)
    kept = frame[frame["trial"].isin({*best, *rest})]
    return kept, f"{len(kept):,} of {len(frame):,} trials are drawn: the best and an even choice of the others."


def varied(frame: pd.DataFrame) -> list[str]:
    """Paths whose value differs between trials."""
    names = [c for c in frame.columns if c.startswith("value:")]
    return [c.removeprefix("value:") for c in names if frame[c].nunique(dropna=False) > 1]


def scored(sweep: SweepRow, frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Complete trials that have the objective, ranked."""
    column = f"objective:{name}"
    if column not in frame:
        return frame.iloc[:0]
    return leaderboard.ranked(frame[(frame["state"] == "complete") & frame[column].notna()], sweep.objectives)


def curves_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    names = data.curve_metrics(frame)
    if not names:
        states.empty("No curves yet", "They begin with the first evaluation of the first trial.")
        return
    goal = next(iter(sweep.objectives), names[0])
    titles = {name: words.metric_title(name) for name in names}
    metric = widgets.pick_from("metric", "Metric", titles, goal if goal in names else names[0])
    board = leaderboard.ranked(frame, sweep.objectives)
    board = board[board["updates"] > 0]
    best, others = data.spread_out(board["trial"].tolist(), BEST, OTHERS)
    rows = data.metrics(sweep, tuple(sorted({*best, *others})), (metric,))
    labels = {t: f"#{place} {t}" for place, t in enumerate(best, 1)}
    ends = dict(zip(board["trial"], board["state"], strict=True))
    chart(curves.learning(rows, best, labels, metric, ends), sweep, "curves", f"{metric} over student updates")
    if len(board) > BEST + OTHERS:
        st.caption(
            f"The best {BEST} in colour, and an even choice of {OTHERS} of the other {len(board) - BEST:,} trials."
        )


def history_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    name, way = objective(sweep)
    kept, remark = thinned(leaderboard.ranked(frame, sweep.objectives), POINTS_MOST)
    chart(search.history(kept, name, way), sweep, "history", f"{name} of every trial in the order they were made")
    st.caption("Stopped trials show their last value before they were stopped. " + remark)


def parallel_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    name, way = objective(sweep)
    board = scored(sweep, frame, name)
    paths = varied(board)
    if len(board) < 2 or not paths:
        states.empty("Nothing to compare yet", "This needs two complete trials whose settings differ.")
        return
    kept, remark = thinned(board, LINES_MOST)
    if len(paths) > AXES_MOST:
        share = importance.of_configurations(board, [f"value:{p}" for p in paths], f"objective:{name}", way)
        paths = sorted(paths, key=lambda path: -share.get(f"value:{path}", 0.0))[:AXES_MOST]
        # Too few configurations tell nothing: then the order is the plan's.
        remark += f" The {'most important' if share else 'first'} {AXES_MOST} settings have an axis."
    figure = search.parallel(kept, paths, name, way, st.context.theme.type or "light")
    widgets.show_chart(figure, "parallel", "Parallel coordinates of complete trials")
    st.caption("Drag along an axis to keep only the trials that cross it there; click it to let go. " + remark)


def slices_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    name, _ = objective(sweep)
    column = f"objective:{name}"
    paths = varied(frame)
    if column not in frame or not paths or not frame[column].notna().any():
        states.empty("Nothing to show yet", "This needs trials with a result whose settings differ.")
        return
    kept, remark = thinned(leaderboard.ranked(frame, sweep.objectives), POINTS_MOST // 2)
    chart(search.slices(kept, paths, name), sweep, "slices", f"{name} over every varied setting")
    st.caption("A point leads to its trial. " + remark)


def importance_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    name, way = objective(sweep)
    board = scored(sweep, frame, name)
    cells = board["cell"].nunique()
    found = importance.of_configurations(board, [f"value:{p}" for p in varied(board)], f"objective:{name}", way)
    if not found:
        need = f"{importance.FEWEST_TRIALS} complete configurations or more that differ; there are {cells}."
        states.empty("Too few results to say", f"Importances need {need}")
        return
    shares = {path.removeprefix("value:"): value for path, value in found.items()}
    widgets.show_chart(search.importances(shares), "importance", "Importance of every varied setting")
    st.caption(
        f"PED-ANOVA: how differently a setting is spread among the best {importance.best_of(cells)} of the {cells:,} "
        "configurations that ran to their end, and among all. Few of them say little."
    )


def front_view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    results = {"retention": "test retention"}
    results |= {f"objective:{name}": words.metric_title(name) for name in sweep.objectives}
    prices = {"parameters": "parameters", "metric:parameters_non_embedding": "parameters without embeddings"}
    prices |= {c: words.metric_title(c[7:]) for c in frame.columns if "latency" in c and c.startswith("metric:")}
    prices |= {"minutes": "training time (min)"}
    complete = frame[frame["state"] == "complete"]
    complete = complete.assign(minutes=complete["seconds"] / 60)
    results = {c: title for c, title in results.items() if c in frame and complete[c].notna().any()}
    prices = {c: title for c, title in prices.items() if c in complete and complete[c].notna().any()}
    if not results or not prices:
        states.empty("No front yet", "It begins with the first complete trial.")
        return
    with st.container(horizontal=True):
        y = widgets.pick_from("result", "Result", results)
        x = widgets.pick_from("price", "Price", prices)
    way = {f"objective:{name}": way for name, way in sweep.objectives.items()}.get(y, "max")
    there = complete[complete[x].notna() & complete[y].notna()].sort_values(y, ascending=way == "min")
    kept, remark = thinned(there, POINTS_MOST)
    figure = search.front(kept, x, y, (prices[x], results[y]), way)
    chart(figure, sweep, "front", f"{results[y]} against {prices[x]}")
    better = "both the lower the better" if way == "min" else "the result the higher the better, the price the lower"
    st.caption(f"On the line: trials that no other beats in both, {better}. The best of many flatters. {remark}")


VIEWS: dict[str, Callable[[SweepRow, pd.DataFrame], None]] = {
    "Leaderboard": leaderboard.view,
    "Curves": curves_view,
    "History": history_view,
    "Parallel": parallel_view,
    "Slices": slices_view,
    "Importance": importance_view,
    "Front": front_view,
}


def page() -> None:
    sweep = widgets.pick_sweep()
    if sweep is None:
        return
    live = sweep.state == "running" and not data.silent(sweep, time.time())

    def fresh() -> SweepRow:
        return data.reader().sweep(sweep.name)

    def refreshed_head() -> None:
        with states.problems_shown():
            head(fresh())

    st.fragment(refreshed_head, run_every=REFRESH_SECONDS if live else None)()
    with st.container(horizontal=True, vertical_alignment="center"):
        view = widgets.pick_one("view", "View", list(VIEWS))
        following = widgets.follow(live)

    def refreshed_view() -> None:
        with states.problems_shown():
            row = fresh()
            frame = data.frame(row)
            if frame.empty:
                states.empty("No trials yet", "The sweep has begun; its first trials appear here in a moment.")
                return
            VIEWS[view](row, frame)

    st.fragment(refreshed_view, run_every=REFRESH_SECONDS if following else None)()


page()

"""The leaderboard of a sweep: ranked, filtered, with the columns one wants; rows lead to their trials."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

import filters
import links
import plan_text
import widgets
import words
from charts.search import distinct, is_numeric, pareto
from limbeck.errors import UserError
from limbeck.store import SweepRow
from limbeck.store.frames import NULL

ROWS_MOST = 1000
"""Rows sent to the browser; filter and order are applied before."""
COMPARED_MOST = 8
_ORDER = {"complete": 0, "running": 1, "stopped": 2, "waiting": 3, "failed": 4}


def ranked(frame: pd.DataFrame, objectives: Mapping[str, str]) -> pd.DataFrame:
    """Return the trials best first, as `limbeck leaderboard` orders them, with their rank."""
    name, way = next(iter(objectives.items()), ("", "max"))
    column = f"objective:{name}"
    score = frame[column].astype(float) if column in frame else pd.Series(np.nan, index=frame.index)
    cost = (score if way == "min" else -score).fillna(np.inf)
    state = frame["state"].map(_ORDER)
    behind = pd.Series(False, index=frame.index)
    if len(objectives) == 2:
        behind = ~frame.index.to_series().isin(_front(frame, objectives))
    order = np.lexsort((frame["number"], cost, behind, state))
    board = frame.iloc[order]
    units = {"minutes": board["seconds"].where(board["seconds"] > 0) / 60, "millions": board["parameters"] / 1e6}
    return board.assign(rank=np.arange(1, len(frame) + 1), **units)


def _front(frame: pd.DataFrame, objectives: Mapping[str, str]) -> list[int]:
    (first, way), (second, other) = objectives.items()
    columns = [f"objective:{first}", f"objective:{second}"]
    if not set(columns) <= set(frame.columns):
        return []
    there = frame[(frame["state"] == "complete") & frame[columns].notna().all(axis=1)]
    places = pareto(there[columns[1]].to_numpy(float), there[columns[0]].to_numpy(float), other, way)
    return list(there.index[places])


def filled(frame: pd.DataFrame, base: Mapping[str, object]) -> pd.DataFrame:
    """Return the trials with the base's value where they do not vary a path themselves, as an ablation's cells do.

    Not where a trial has another table in that place: what the base says of one method is not so of another.
    """
    new: dict[str, pd.Series] = {}
    for column in (c for c in frame.columns if c.startswith("value:")):
        usual, names = plan_text.lookup(base, column.removeprefix("value:")), column.split(".")
        above = [".".join(names[:k]) for k in range(1, len(names))]
        unset = frame[column].isna() & frame[[c for c in above if c in frame]].isna().all(axis=1)
        if unset.any() and usual != plan_text.NOT_SET and not isinstance(usual, (dict, list)):
            told = NULL if usual is None else usual
            new[column] = frame[column].astype(object).where(~unset, told).infer_objects()
    return frame.assign(**new)


def titles(frame: pd.DataFrame, sweep: SweepRow) -> dict[str, str]:
    """Return every column that can be shown, with its title; the usual ones first."""
    paths = [c.removeprefix("value:") for c in frame.columns if c.startswith("value:")]
    ends = words.short_paths(paths)
    out = {"rank": "#", "trial": "trial", "state": "state", "seed": "seed"}
    out |= {f"value:{path}": ends[path] for path in paths}
    out |= {f"objective:{name}": words.metric_title(name) for name in sweep.objectives}
    out |= {"retention": "test retention", "millions": "parameters (M)", "minutes": "time (min)"}
    out["cell"] = "configuration"
    out |= {"updates": "updates", "error": "error"}
    metrics = {c: words.metric_title(c[7:]) for c in sorted(frame.columns) if c.startswith("metric:")}
    out |= {name: title for name, title in metrics.items() if title not in out.values()}
    return {name: title for name, title in out.items() if name in frame.columns or name == "rank"}


def usual(frame: pd.DataFrame, every: Mapping[str, str]) -> list[str]:
    """Return the columns shown unless others are chosen: what varies and what was found.

    Where whole tables vary, the name of the configuration says it better.
    """
    settings = [name for name in every if name.startswith("value:") and not is_numeric(frame[name])]
    tables = {name for name in settings if frame[name].map(_is_table).any()}
    left_out = {"updates", "error", *(tables or {"cell"})}
    kept = [name for name in every if not name.startswith("metric:") and name not in left_out]
    same = {name for name in kept if name.startswith(("value:", "seed")) and frame[name].nunique(dropna=False) < 2}
    return [name for name in kept if name not in same]


def _is_table(value: object) -> bool:
    return isinstance(words.unfolded(value), (dict, list))


def shown(frame: pd.DataFrame, every: Mapping[str, str], columns: list[str], sweep: str) -> pd.DataFrame:
    """Return what the browser gets: shares in percent, trials as links, under the titles."""
    out: dict[str, pd.Series] = {}
    for name in columns:
        values = frame[name]
        if name == "trial":
            values = values.map(lambda trial: links.trial_url(sweep, trial))
        elif _is_share(name) and is_numeric(values):
            values = values * 100
        elif not is_numeric(values):
            values = values.map(words.value_text, na_action="ignore")
        out[every[name]] = values
    return pd.DataFrame(out)


def formats(frame: pd.DataFrame, every: Mapping[str, str], columns: list[str]) -> dict[str, object]:
    """Return how the browser prints each column."""
    config: dict[str, object] = {}
    for name in columns:
        title, column = every[name], st.column_config
        if name == "trial":
            pattern = r"trial=([^&]*)$"
            config[title] = column.LinkColumn(title, display_text=pattern, alignment="left", help="Opens the trial")
        elif _is_share(name):
            config[title] = column.NumberColumn(title, format="%.1f %%")
        elif name in ("minutes", "millions"):
            config[title] = column.NumberColumn(title, format="%.1f")
        elif "parameters" in name:
            config[title] = column.NumberColumn(title, format="compact")
        elif name in ("rank", "seed", "updates"):
            config[title] = column.NumberColumn(title, format="%d")
        elif name.startswith("value:") and is_numeric(frame[name]):
            config[title] = column.NumberColumn(title, format=_digits(frame[name]))
        elif is_numeric(frame[name]):
            config[title] = column.NumberColumn(title, format="%.4g")
    return config


def _is_share(name: str) -> bool:
    return words.is_share(name.partition(":")[2] or name)


def _digits(values: pd.Series) -> str:
    there = values.dropna().astype(float)
    if (there == there.round()).all():
        return "%d"
    return "scientific" if there.abs().max() < 1e-3 else "%.3g"


def view(sweep: SweepRow, frame: pd.DataFrame) -> None:
    """Show the leaderboard and what can be done with its rows."""
    board = ranked(filled(frame, plan_text.base(sweep.plan)), sweep.objectives)
    every = titles(board, sweep)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = _filter()
        order = _order(every)
        columns = _columns(board, every)
    try:
        names = {title: name for name, title in every.items()}
        board = filters.filtered(board, text, names, ["trial", "state", "cell"], list(filter(_is_share, every)))
    except UserError as error:
        told = "  \n".join(words.literal(problem) for problem in error.problems)
        st.warning(told, icon=":material/filter_alt_off:")
        return
    if order != "rank":
        down = is_numeric(board[order]) and not order.startswith("value:")
        board = board.sort_values(order, ascending=not down, kind="stable", key=_comparable, na_position="last")
    _rows(sweep, board, every, columns)


def _comparable(values: pd.Series) -> pd.Series:
    return values if is_numeric(values) else values.map({value: i for i, value in enumerate(distinct(values))})


def _filter() -> str:
    text = st.text_input(
        "Filter",
        key=links.prepare_text("filter"),
        placeholder="state = complete and layers = 2 and mask_rate > 0.3",
        help="Conditions with <, >, =, != or ~ (contains) in the columns' units, joined by “and”; or words.",
        icon=":material/filter_alt:",
    )
    links.keep("filter", text)
    return text or ""


def _order(every: Mapping[str, str]) -> str:
    return widgets.pick_from("order", "Order", every, "rank")


def _columns(board: pd.DataFrame, every: Mapping[str, str]) -> list[str]:
    default = usual(board, every)
    with st.popover("Columns", icon=":material/view_column:"):
        key = links.prepare_many("columns", list(every), default)
        columns = st.multiselect("Columns", list(every), key=key, format_func=every.__getitem__)
    links.keep_many("columns", columns, default)
    return columns or ["rank", "trial", "state"]


def _rows(sweep: SweepRow, board: pd.DataFrame, every: Mapping[str, str], columns: list[str]) -> None:
    sent = board.head(ROWS_MOST)
    total = sum(sweep.counts.values())
    note = f"{len(board):,} of {total:,} trials" + (
        f", the first {ROWS_MOST:,} shown" if len(board) > ROWS_MOST else ""
    )
    actions = st.container(horizontal=True, vertical_alignment="center", height=44, border=False)
    event = st.dataframe(
        shown(sent, every, columns, sweep.name),
        key=f"leaderboard {sweep.name}",
        hide_index=True,
        height=min(620, 38 + 35 * max(1, len(sent))),
        placeholder="–",
        on_select="rerun",
        selection_mode="multi-row",
        column_config=formats(board, every, columns),
        alt="Leaderboard",
    )
    chosen = [sent["trial"].iloc[i] for i in event.selection.rows if i < len(sent)]
    with actions:
        if not chosen:
            st.caption(f"{note}. Select rows to open or compare them; click a trial's name for a new tab.")
        elif len(chosen) == 1:
            target = {"sweep": sweep.name, "trial": chosen[0]}
            st.page_link(links.TRIAL, label="Open this trial", icon=":material/science:", query_params=target)
            st.page_link(links.EXPORT, label="Export it", icon=":material/download:", query_params=target)
        else:
            picked = [links.pair(sweep.name, trial) for trial in chosen[:COMPARED_MOST]]
            many = f"Compare these {len(picked)} trials"
            st.page_link(links.COMPARE, label=many, icon=":material/compare_arrows:", query_params={"trials": picked})

"""Parts that several pages share: choosing a sweep or a trial, and taking a table away."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import streamlit as st

import data
import links
import markup
import states
from charts.style import Chart
from limbeck.report import Column, Table, show, to_csv, to_json, to_latex, to_markdown
from limbeck.store import SweepRow
from words import literal

WIDTH = 280
"""Of a box to choose from, in pixels."""
BADGES = {
    "running": ("running", ":material/play_arrow:", "green"),
    "complete": ("complete", ":material/check:", "blue"),
    "interrupted": ("interrupted", ":material/pause:", "orange"),
    "failed": ("failed", ":material/error:", "red"),
    "silent": ("no sign of life", ":material/heart_broken:", "orange"),
    "stopped": ("stopped early", ":material/stop:", "gray"),
    "waiting": ("waiting", ":material/schedule:", "gray"),
}


def badge(state: str) -> None:
    """Show a state as word, sign and colour."""
    word, icon, colour = BADGES[state]
    st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]


def pick_sweep(kinds: Sequence[str] | None = None, nothing: str = "No sweeps yet") -> SweepRow | None:
    """Let the person choose a sweep, newest first; None where there is nothing to choose, and the page says so."""
    every = data.sweeps()
    rows = [row for row in every if kinds is None or row.kind in kinds]
    if not rows:
        advice = "Start one from a terminal; it appears here as soon as it runs."
        states.empty(nothing, advice, "limbeck sweep quickstart" if kinds is None else "limbeck sweep ablations/mate")
        return None
    names = [row.name for row in rows]
    wanted = links.asked("sweep")
    if wanted is not None and wanted not in names:
        there = "is not of the kind this page shows" if wanted in [row.name for row in every] else "is not here"
        st.warning(
            f"The sweep “{literal(wanted)}” {there}; this is the newest one that is.", icon=":material/link_off:"
        )
    key = links.prepare("sweep", names, names[0], remembered=True)
    before = links.last("sweep")
    name = st.selectbox("Sweep", names, key=key)
    if wanted not in (None, name) and before not in (None, name):
        # Another sweep was chosen by hand: what was chosen of the old one is not its own.
        for chosen in ("trial", "columns", "reference"):
            links.forget(chosen)
    links.keep("sweep", name, remembered=True)
    return rows[names.index(name)]


def pick_one(name: str, title: str, options: Sequence[str], shown: Callable[[str], str] = str) -> str:
    """Let the person choose one of a few; the choice stands in the address."""
    key = links.prepare(name, options, options[0])
    # The options of this widget are read as Markdown.
    chosen = st.segmented_control(
        title, options, key=key, required=True, format_func=lambda o: literal(shown(o)), label_visibility="collapsed"
    )
    chosen = chosen or options[0]
    links.keep(name, chosen, options[0])
    return chosen


def pick_from(name: str, title: str, options: Mapping[str, str], default: str | None = None) -> str:
    """Let the person choose one of many, shown by their titles; the choice stands in the address."""
    usual = next(iter(options)) if default is None else default
    key = links.prepare(name, list(options), usual)
    chosen = st.selectbox(title, list(options), key=key, format_func=options.__getitem__, width=WIDTH)
    links.keep(name, chosen, usual)
    return chosen


def follow(live: bool) -> bool:
    """Let the person hold a page still while something runs: a figure that is drawn anew forgets its zoom."""
    told = "New results appear as they come. Switched off, figures stay as they are, also where you have zoomed in."
    return live and st.toggle("Follow", value=True, key="follow", help=told)


def show_chart(chart: Chart, key: str, alt: str) -> None:
    """Show a figure; `alt` says what it shows to who does not see it."""
    st.echarts_chart(chart.option, height=chart.height, key=key, alt=alt)


def pick_point(chart: Chart, key: str, alt: str) -> str | None:
    """Show a figure whose points can be chosen; return what the chosen one leads to."""
    event = st.echarts_chart(chart.option, height=chart.height, key=key, on_select="rerun", alt=alt)
    return chart.picked(event.selection.selected)


def show_frame(frame: pd.DataFrame, alt: str) -> None:
    """Show a few lines of words."""
    st.html(markup.table(list(frame.columns), frame.astype(str).to_numpy().tolist(), alt))


def show_table(table: Table) -> None:
    """Show a table as the downloads print it."""
    rows = [[_cell(value, column) for value, column in zip(row, table.columns, strict=True)] for row in table.rows]
    heads, right = [c.heading for c in table.columns], [c.numeric for c in table.columns]
    st.html(markup.table(heads, rows, table.caption, right))
    for note in table.notes:
        st.caption(literal(note))


def _cell(value: object, column: Column) -> str:
    text = show(value, column)
    return text.replace("-", "\u2212") if column.numeric else text


def downloads(table: Table, name: str) -> None:
    """Offer a table as LaTeX, Markdown, CSV and JSON."""
    forms = (
        ("LaTeX", "tex", to_latex, "application/x-tex"),
        ("Markdown", "md", to_markdown, "text/markdown"),
        ("CSV", "csv", to_csv, "text/csv"),
        ("JSON", "json", to_json, "application/json"),
    )
    with st.popover("Download", icon=":material/download:", key=f"{name} download"):
        for title, ending, write, mime in forms:
            st.download_button(
                title,
                write(table),
                f"{file_name(name)}.{ending}",
                mime,
                key=f"{name} {ending}",
                on_click="ignore",
                width="stretch",
            )


def file_name(text: str) -> str:
    """Return a name that every file system takes."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in text).strip("-.")
    return kept[:80] or "limbeck"

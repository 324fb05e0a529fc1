"""All sweeps: how far they are, what they found, what they cost."""

import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

import copyable
import data
import links
import markup
import states
import words
from limbeck.store import SweepRow

REFRESH_SECONDS = 3.0
COMPARED_MOST = 4
MARKS = {
    "running": "▶ running",
    "complete": "✓ complete",
    "interrupted": "‖ interrupted",
    "failed": "✕ failed",
    "silent": "? no sign of life",
}
COLUMNS = ("sweep", "state", "done", "trials", "failed", "best", "retention", "cost", "task", "kind", "updated")


def row(sweep: SweepRow, found: data.CostAndRetention, now: float) -> dict[str, object]:
    """One line of the table; shares in percent."""
    state = MARKS["silent" if data.silent(sweep, now) else sweep.state]
    name = next(iter(sweep.objectives), "")
    seconds, kept = found
    return {
        "sweep": sweep.name,
        "state": state,
        "done": 100 * (sweep.finished + sweep.failed) / max(1, sweep.trials),
        "trials": f"{sweep.finished:,} of {sweep.trials:,}",
        "failed": sweep.failed or None,
        "best": f"{words.number(sweep.best, name)} {name.rpartition('/')[2]}" if sweep.best is not None else None,
        "retention": None if kept is None else 100 * kept,
        "cost": words.duration(seconds or None),
        "task": sweep.task,
        "kind": sweep.kind,
        "updated": words.ago(sweep.updated, datetime.fromtimestamp(now, UTC)),
    }


def totals(sweeps: list[SweepRow], found: Mapping[str, data.CostAndRetention], now: float) -> None:
    """The numbers at the top."""
    running = [s for s in sweeps if s.state == "running" and not data.silent(s, now)]
    spent = sum(seconds for seconds, _ in found.values())
    best = max((kept for _, kept in found.values() if kept is not None), default=None)
    markup.numbers(
        [
            ("Sweeps running", f"{len(running)} of {len(sweeps)}"),
            ("Trials running", f"{sum(s.counts.get('running', 0) for s in running):,}"),
            ("Trials finished", f"{sum(s.finished for s in sweeps):,}"),
            ("Trials failed", f"{sum(s.failed for s in sweeps):,}"),
            ("Best test retention", words.percent(best)),
            ("Training time", words.duration(spent or None)),
        ]
    )


def table(sweeps: list[SweepRow], found: Mapping[str, data.CostAndRetention], now: float) -> None:
    """The sweeps; choosing one opens it."""
    shown = pd.DataFrame([row(s, found[s.name], now) for s in sweeps], columns=list(COLUMNS))
    column = st.column_config
    event = st.dataframe(
        shown,
        key="sweeps",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        alt="Sweeps, newest first",
        column_config={
            "sweep": column.TextColumn("Sweep", pinned=True),
            "state": column.TextColumn("State"),
            "done": column.ProgressColumn("Progress", format="%.0f %%", min_value=0, max_value=100),
            "trials": column.TextColumn("Finished", alignment="right"),
            "failed": column.NumberColumn("Failed"),
            "best": column.TextColumn("Best on selection", alignment="right"),
            "retention": column.NumberColumn("Its test retention", format="%.1f %%"),
            "cost": column.TextColumn("Training time", alignment="right"),
            "task": column.TextColumn("Task"),
            "kind": column.TextColumn("Kind"),
            "updated": column.TextColumn("Last sign of life"),
        },
    )
    if event.selection.rows:
        chosen = sweeps[event.selection.rows[0]]
        st.switch_page(links.SWEEP, query_params={"sweep": chosen.name})


def body() -> None:
    """What is refreshed while something runs."""
    with states.problems_shown():
        now = time.time()
        sweeps = data.sweeps()
        if not sweeps:
            states.empty("No sweeps yet", "Start one; it appears here as soon as it runs.", "limbeck sweep quickstart")
            return
        found = data.costs_and_retentions(sweeps)
        totals(sweeps, found, now)
        table(sweeps, found, now)
        compared = [s.name for s in sweeps if s.counts.get("complete")][:COMPARED_MOST]
        if len(compared) > 1:
            target = {"trials": [links.pair(name, "") for name in compared]}
            many = f"Compare the best of the newest {len(compared)}"
            st.page_link(links.COMPARE, label=many, icon=":material/compare_arrows:", query_params=target)
        silent([s for s in sweeps if data.silent(s, now)], now)


def silent(sweeps: list[SweepRow], now: float) -> None:
    """Say which sweeps have probably been killed, and how to go on with them."""
    if not sweeps:
        return
    told = ", ".join(
        f"**{words.literal(s.name)}** ({words.ago(s.updated, datetime.fromtimestamp(now, UTC))})" for s in sweeps
    )
    many = "these sweeps" if len(sweeps) > 1 else "this sweep"
    st.warning(f"No sign of life from {told}. If {many} were killed, nothing is lost:", icon=":material/heart_broken:")
    copyable.show("\n".join(f"limbeck sweep --resume {shlex.quote(s.name)}" for s in sweeps), "resume")


st.title("Sweeps", anchor=False)
live = any(s.state == "running" or s.counts.get("running") for s in data.sweeps()) or not data.sweeps()
st.caption("Select a row to open a sweep." + (" This page follows what is running." if live else ""))
st.fragment(body, run_every=REFRESH_SECONDS if live else None)()

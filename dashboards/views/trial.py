"""One trial: what it was told, how it learned, what its method made up, and how it ended."""

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

import data
import leaderboard
import links
import markup
import parcel
import settings
import states
import tricks
import widgets
import words
from charts import curves
from limbeck.store import SweepRow, TrialRow

REFRESH_SECONDS = 4.0
LISTED = 300
EVERY_PAIR, ONLY_FLIPS = "All pairs", "Only where the teacher changes its mind"
INVENTED = ("invented/flip_rate", "invented/replaced_share", "invented/distinct_share", "invented/top_token_share")


def pick_trial(sweep: SweepRow) -> str | None:
    """Let the person choose a trial, best first, any other by the address or the leaderboard; None: there is none."""
    frame = data.frame(sweep)
    if frame.empty:
        states.empty("No trials yet", "The sweep has begun; its first trials appear here in a moment.")
        return None
    board = leaderboard.ranked(frame, sweep.objectives)
    column = f"objective:{next(iter(sweep.objectives), '')}"
    names = board["trial"].head(LISTED).tolist()
    asked = links.asked("trial")
    wanted = asked or links.last("trial")
    if wanted in set(board["trial"]) and wanted not in names:
        names = [wanted, *names]
    elif asked and asked not in names:
        told = f"Trial “{words.literal(wanted)}” is not in this sweep; this is the leading one."
        st.warning(told, icon=":material/link_off:")
    rows = board.set_index("trial").loc[names]
    scores = rows[column] if column in rows else pd.Series(float("nan"), index=rows.index)
    metric = column.partition(":")[2]
    shown = {
        name: f"#{rank}  {name}  {state}  {words.number(score, metric)}"
        for name, rank, state, score in zip(names, rows["rank"], rows["state"], scores, strict=True)
    }
    key = links.prepare("trial", names, names[0], remembered=True)
    trial = st.selectbox("Trial", names, key=key, format_func=shown.__getitem__)
    links.keep("trial", trial, remembered=True)
    return trial


def head(sweep: SweepRow, trial: TrialRow) -> None:
    """The trial in numbers."""
    begun = trial.updates and trial.updates_total
    markup.numbers(
        [
            *(
                (words.sentence(words.metric_title(name)), words.number(trial.objective.get(name), name))
                for name in sweep.objectives
            ),
            ("Test retention", words.percent(trial.retention)),
            ("Updates", f"{trial.updates:,} of {trial.updates_total:,}" if begun else "–"),
            ("Training time", words.duration(trial.seconds or None)),
            ("Parameters", words.count(trial.parameters)),
        ]
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        widgets.badge(trial.state)
        facts = [f"seed {trial.seed}", f"number {trial.number}", f"configuration {words.literal(trial.cell)}"]
        st.markdown(" · ".join(facts))
    if trial.error:
        st.error(words.literal(trial.error), icon=":material/error:")
    alarm(trial)


def alarm(trial: TrialRow) -> None:
    """Say so when the generator has collapsed."""
    if trial.metrics.get("invented/collapsed", 0.0) >= 0.5:
        top = words.percent(trial.metrics.get("invented/top_token_share"))
        st.error(
            f"**The generator has collapsed:** one token fills {top} of the places it may change. Its text teaches the "
            "student little. Lower its learning rate, give it fewer steps, or raise its temperature.",
            icon=":material/warning:",
        )


def curves_view(sweep: SweepRow, trial: TrialRow) -> None:
    rows = data.metrics(sweep, (trial.trial,))
    if rows.empty:
        states.empty("No curves yet", "They begin with the trial's first evaluation.")
        return
    names = list(rows["name"].unique())
    counts = rows.groupby("name")["updates"].nunique()
    names = [name for name in names if counts[name] > 1 or trial.state == "running"] or names
    losses = [n for n in names if n.startswith("loss/")]
    quality = [n for n in ("selection/retention", "selection/accuracy", "selection/agreement") if n in names]
    rest = [n for n in names if not n.startswith(("loss/", "selection/", "invented/")) and n != "retention"]
    left, right = st.columns(2)
    with left:
        st.markdown("**Quality on the selection split**")
        widgets.show_chart(curves.metrics_over_updates(rows, quality, ""), "quality", "Quality over updates")
    with right:
        st.markdown("**Losses by part**")
        widgets.show_chart(curves.metrics_over_updates(rows, losses, ""), "losses", "Losses over updates")
    other = [n for n in rest if not n.startswith(("test/", "teacher/"))]
    if other:
        key = links.prepare_many("other", other, [])
        chosen = st.multiselect("Other metrics", other, key=key, format_func=words.metric_title)
        links.keep_many("other", chosen)
        for name in chosen:
            figure = curves.metrics_over_updates(rows, [name], words.metric_title(name), 240)
            widgets.show_chart(figure, f"other {name}", name)


def configuration_view(sweep: SweepRow, trial: TrialRow) -> None:
    st.markdown("**Different from the plan’s base**")
    changed = settings.difference(sweep, trial)
    if changed.empty:
        st.caption("Nothing: this is the base trial.")
    else:
        widgets.show_frame(changed, "Settings that differ from the base")
    st.markdown("**All settings**")
    st.dataframe(settings.complete(sweep, trial), hide_index=True, key="all settings", height=420, alt="All settings")
    plan = st.expander("The plan", key="plan", on_change="rerun")
    # Only when it is open: what colours it is a megabyte and a half of program.
    if plan.open:
        plan.code(sweep.plan, language="yaml")


def resources_view(sweep: SweepRow, trial: TrialRow) -> None:
    m = trial.metrics
    wall = (trial.finished or trial.updated) - trial.started if trial.started else None
    facts = {
        "parameters": words.count(trial.parameters),
        "parameters without embeddings": words.count(m.get("parameters_non_embedding")),
        "teacher's parameters": words.count(m.get("teacher/parameters")),
        "training time": words.duration(trial.seconds or None),
        "time from start to end": words.duration(wall.total_seconds()) if wall else "–",
        "time per update": words.duration(trial.seconds / trial.updates) if trial.updates else "–",
        "begun": words.moment(trial.started),
        "ended": words.moment(trial.finished),
        "folder": trial.folder or "–",
    }
    st.html(markup.table(["", "value"], list(facts.items()), "Resources"))
    final = parcel.tests_of(m)
    if final:
        st.markdown("**Test sets**, read once when the trial ended")
        columns = ["test set", "measure", "student", "teacher"]
        st.html(markup.table(columns, final, "Test metrics", [False, False, True, True]))
    st.markdown("**Checkpoints**")
    found = checkpoints(trial)
    if found:
        widgets.show_frame(pd.DataFrame(found), "Checkpoints")
    else:
        st.caption("None on this machine: a trial removes them when it ends, and its folder may be elsewhere.")


def checkpoints(trial: TrialRow) -> list[dict[str, str]]:
    """Return the trial's checkpoints where its folder is on this machine."""
    folder = Path(trial.folder or "") / "checkpoints"
    if not trial.folder or not folder.is_dir():
        return []
    out = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        total = sum(f.stat().st_size for f in path.iterdir() if f.is_file())
        out.append({"checkpoint": path.name, "size": words.size(total)})
    return out


def tricks_view(sweep: SweepRow, trial: TrialRow) -> None:
    found = data.examples(sweep, trial.trial)
    rows = data.metrics(sweep, (trial.trial,))
    if not found:
        states.empty("Nothing made up", "This trial's method invents no text, or has not been evaluated yet.")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Flips and diversity**")
        widgets.show_chart(curves.metrics_over_updates(rows, INVENTED, "", 300), "invented", "Flips and diversity")
    with right:
        st.markdown("**Divergence of student and teacher** (nats)")
        names = ("invented/divergence_before", "invented/divergence_after")
        widgets.show_chart(curves.metrics_over_updates(rows, names, "", 300), "divergence", "Divergence")
    steps = [one.updates for one in found]
    if len(steps) > 1:
        key = links.prepare("update", list(map(str, steps)), str(steps[-1]))
        update = int(st.select_slider("After update", list(map(str, steps)), key=key))
        links.keep("update", str(update), str(steps[-1]))
    else:
        update = steps[0]
    names_of = data.classes(sweep, trial.trial)
    only = widgets.pick_one("pairs", "Pairs", [EVERY_PAIR, ONLY_FLIPS]) == ONLY_FLIPS
    shown = [
        r for r in next(one.rows for one in found if one.updates == update) if not only or tricks.flips(r, "teacher")
    ]
    if not shown:
        st.caption("None of the kept pairs makes the teacher change its mind.")
    for row in shown:
        with st.container(border=True):
            text, numbers = st.columns([3, 2])
            with text:
                st.html(tricks.pair(row))
                if tricks.flips(row, "teacher"):
                    st.badge("teacher changes its mind", icon=":material/swap_horiz:", color="orange")
            with numbers:
                said = tricks.said(row, names_of)
                if said:
                    st.html(tricks.table(said))


def log_view(sweep: SweepRow, trial: TrialRow) -> None:
    if trial.traceback:
        st.markdown("**Traceback**")
        st.code(trial.traceback, language=None, wrap_lines=True)
    if trial.log:
        st.markdown("**Last lines of the log**")
        st.code(trial.log, language=None, wrap_lines=True)
    if not trial.traceback and not trial.log:
        states.empty("No log", "Trials leave their last lines when they end.")


VIEWS: dict[str, Callable[[SweepRow, TrialRow], None]] = {
    "Curves": curves_view,
    "Tricks": tricks_view,
    "Configuration": configuration_view,
    "Resources": resources_view,
    "Log": log_view,
}


def page() -> None:
    left, right = st.columns(2)
    with left:
        sweep = widgets.pick_sweep()
    if sweep is None:
        return
    with right:
        name = pick_trial(sweep)
    if name is None:
        return
    state = data.trial(sweep, name).state
    running = state == "running" and not data.silent(sweep, time.time())
    every = REFRESH_SECONDS if running else None

    def part(show: Callable[[SweepRow, TrialRow], None]) -> Callable[[], None]:
        def body() -> None:
            with states.problems_shown():
                fresh = data.reader().sweep(sweep.name)
                show(fresh, data.trial(fresh, name))

        return body

    st.fragment(part(head), run_every=every)()
    with st.container(horizontal=True, vertical_alignment="center"):
        view = widgets.pick_one("show", "View", list(VIEWS))
        following = widgets.follow(running)
    st.fragment(part(VIEWS[view]), run_every=REFRESH_SECONDS if following else None)()
    target = {"sweep": sweep.name, "trial": name}
    with st.container(horizontal=True):
        if state == "complete":
            st.page_link(links.EXPORT, label="Export this student", icon=":material/download:", query_params=target)
        chosen = {"trials": [links.pair(sweep.name, name)]}
        st.page_link(links.COMPARE, label="Compare it", icon=":material/compare_arrows:", query_params=chosen)


page()

"""Trials or sweeps side by side: what differs in their settings, their curves, and whether the results differ."""

import numpy as np
import pandas as pd
import streamlit as st

import cells
import contest
import data
import leaderboard
import links
import markup
import settings
import states
import widgets
import words
from charts import curves, forest
from limbeck.analysis.words import ALPHA
from limbeck.compare import AblationRow, ablation_table
from limbeck.store import SweepRow, TrialRow

WHOLE, ALONE = "All seeds of these configurations", "These trials alone"
BEST = ""
"""Stands for the best trial of a sweep, whichever that is."""
MOST = 8
OFFERED = 10
SWEEPS_OFFERED = 20


def offered(sweeps: dict[str, SweepRow]) -> dict[str, str]:
    """Return what there is to choose from and how it reads: every sweep, its leaders, and what the address names."""
    out: dict[str, str] = {}
    for sweep in list(sweeps.values())[:SWEEPS_OFFERED]:
        frame = data.frame(sweep)
        if frame.empty:
            continue
        out[links.pair(sweep.name, BEST)] = f"{sweep.name}: its best trial"
        board = leaderboard.ranked(frame, sweep.objectives).head(OFFERED)
        for trial, rank, state, cell in zip(board["trial"], board["rank"], board["state"], board["cell"], strict=True):
            out[links.pair(sweep.name, trial)] = f"{sweep.name} #{rank}  {trial}  {state}  {cell}"
    for name in links.asked_many("trials"):
        sweep_name, trial = links.parted(name)
        known = sweeps.get(sweep_name)
        if name not in out and known is not None and trial in set(data.frame(known)["trial"]):
            out[name] = f"{sweep_name}  {trial}"
    return out


def chosen(sweeps: dict[str, SweepRow]) -> dict[str, TrialRow]:
    """Let the person choose trials; they come back by their name across sweeps, a sweep as its best trial."""
    names = offered(sweeps)
    lost = [name for name in links.asked_many("trials") if name not in names]
    if lost:
        told = ", ".join(words.literal(name) for name in lost)
        st.warning(f"Not here: {told}.", icon=":material/link_off:")
    default = [name for name in names if links.parted(name)[1] == BEST][:2]
    key = links.prepare_many("trials", list(names), default, remembered=True)
    picked = st.multiselect(
        "Trials",
        list(names),
        key=key,
        format_func=names.__getitem__,
        max_selections=MOST,
        help="Sweeps and their leaders are offered; any other trial can be sent here from a leaderboard.",
    )
    links.keep_many("trials", picked, default, remembered=True)
    found: dict[str, TrialRow] = {}
    for name in picked:
        sweep = sweeps[links.parted(name)[0]]
        trial = data.trial(sweep, links.parted(name)[1] or leader(sweep))
        found[links.pair(sweep.name, trial.trial)] = trial
    return found


def leader(sweep: SweepRow) -> str:
    """Return the best trial of a sweep by its plan's objective."""
    return str(leaderboard.ranked(data.frame(sweep), sweep.objectives)["trial"].iloc[0])


def overlaid(sweeps: dict[str, SweepRow], trials: dict[str, TrialRow]) -> None:
    """The curves of one metric in one figure."""
    parts = []
    for name, trial in trials.items():
        rows = data.metrics(sweeps[trial.sweep], (trial.trial,))
        parts.append(rows.assign(trial=name))
    every = pd.concat(parts)
    counts = every.groupby("name")["updates"].nunique()
    names = [str(n) for n in counts[counts > 1].index] or [str(n) for n in counts.index]
    if not names:
        states.empty("No curves yet", "They begin with a trial's first evaluation.")
        return
    titles = {name: words.metric_title(name) for name in names}
    metric = widgets.pick_from("metric", "Metric", titles, "retention" if "retention" in names else names[0])
    figure = curves.overlaid(every[every["name"] == metric], {name: name for name in trials}, metric)
    widgets.show_chart(figure, "overlaid", f"{metric} over updates")


def paired_test(sweeps: dict[str, SweepRow], trials: dict[str, TrialRow]) -> None:
    """Whether the results differ, for new seeds and test examples."""
    splits = list(dict.fromkeys(s for t in trials.values() for s in cells.test_splits(data.frame(sweeps[t.sweep]))))
    if not splits:
        states.empty("Nothing to test yet", "Paired tests need complete trials.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        split = widgets.pick_one("split", "Test set", splits) if len(splits) > 1 else splits[0]
        whole = widgets.pick_one("of", "What is tested", [WHOLE, ALONE]) == WHOLE
    told = contest.budgets(trials)
    if told:
        st.warning(told, icon=":material/balance:")
    found = [contest.contender(sweeps[trial.sweep], trial, split, whole) for trial in trials.values()]
    there = {one.cell.name: one for one in found if one is not None}
    if len(there) < 2:
        states.empty("Nothing to test yet", "Choose two complete trials or more, of different configurations.")
        return
    reference = widgets.pick_from("against", "Against", {name: name for name in there})
    show_differences(list(there.values()), reference, split)


def show_differences(contenders: list[contest.Contender], reference: str, split: str) -> None:
    """The chart and the table of a comparison."""
    paired, by_example = contest.paired(contenders)
    rows = ablation_table(paired, reference, np.random.default_rng(cells.RESAMPLING_SEED))
    lines = [line(row) for row in rows if row.cell != reference]
    title = "difference in retention, percentage points"
    widgets.show_chart(forest.effects(lines, title), "differences", "Differences with intervals")
    table = contest.differences_table(rows, reference, split, by_example)
    widgets.show_table(table)
    widgets.downloads(table, f"comparison-{split}")
    tests = contest.mcnemar_tests(contenders, reference)
    if tests:
        columns = ["student", "right where the other is wrong", "wrong where the other is right", "p (McNemar)"]
        shown = [(n, f"{t.only_first:,}", f"{t.only_second:,}", words.p_value(t.p)) for n, t in tests.items()]
        st.html(markup.table(columns, shown, "McNemar's test", [False, True, True, True]))
        st.caption("Single students: this says whether these two differ, not whether their configurations do.")


def line(row: AblationRow) -> forest.Line:
    """A contender's difference to the reference as a line of the forest."""
    strong = row.p_adjusted is not None and row.p_adjusted < ALPHA
    told = f"{row.n_pairs} seed{'s' if row.n_pairs != 1 else ''} paired, adjusted p {words.p_value(row.p_adjusted)}"
    if row.difference is None:
        told = "no seed in common with the reference"
    return forest.Line(row.cell, row.difference, row.difference_low, row.difference_high, strong, told)


def page() -> None:
    sweeps = {s.name: s for s in data.sweeps()}
    if not sweeps:
        states.empty("No sweeps yet", "Start one; its trials can be compared here.", "limbeck sweep quickstart")
        return
    trials = chosen(sweeps)
    if not trials:
        states.empty("Nothing chosen", "Choose two trials or more above, or select rows on a leaderboard.")
        return
    st.subheader("Settings that differ", anchor=False)
    differing = settings.side_by_side(trials)
    if differing.empty:
        st.caption("None." if len(trials) > 1 else "Choose a second trial.")
    else:
        widgets.show_frame(differing, "Settings that differ")
    st.subheader("Curves", anchor=False)
    overlaid(sweeps, trials)
    st.subheader("Do the results differ?", anchor=False)
    with states.problems_shown():
        paired_test(sweeps, trials)


page()

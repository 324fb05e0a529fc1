"""Trials or sweeps side by side: what differs in their settings, their curves, and whether the results differ."""

import numpy as np
import pandas as pd
import streamlit as st

import cells
import data
import effects
import leaderboard
import links
import settings
import states
import widgets
import words
from charts import curves, forest
from limbeck.compare import AblationRow, ablation_table, mcnemar
from limbeck.errors import UserError
from limbeck.store import SweepRow, TrialRow

MOST = 8
OFFERED = 40
SWEEPS_OFFERED = 20


def offered(sweeps: dict[str, SweepRow]) -> dict[str, str]:
    """Return the trials to choose from and how they read: the leaders of every sweep, and what the address names."""
    out: dict[str, str] = {}
    for sweep in list(sweeps.values())[:SWEEPS_OFFERED]:
        frame = data.frame(sweep)
        if frame.empty:
            continue
        board = leaderboard.ranked(frame, sweep.objectives).head(OFFERED)
        for trial, rank, state, cell in zip(board["trial"], board["rank"], board["state"], board["cell"], strict=True):
            out[links.pair(sweep.name, trial)] = f"{sweep.name} #{rank}  {trial}  {state}  {cell}"
    for name in st.query_params.get_all("trials"):
        sweep_name, trial = links.parted(name)
        known = sweeps.get(sweep_name)
        if name not in out and known is not None and trial in set(data.frame(known)["trial"]):
            out[name] = f"{sweep_name}  {trial}"
    return out


def chosen(sweeps: dict[str, SweepRow]) -> dict[str, TrialRow]:
    """Let the person choose trials; they come back by their name across sweeps."""
    names = offered(sweeps)
    lost = [name for name in st.query_params.get_all("trials") if name not in names]
    if lost:
        told = ", ".join(words.literal(name) for name in lost)
        st.warning(f"Not here: {told}.", icon=":material/link_off:")
    firsts = [next(iter(n for n in names if links.parted(n)[0] == sweep), None) for sweep in list(sweeps)[:2]]
    default = [name for name in firsts if name]
    key = links.prepare_many("trials", list(names), default)
    picked = st.multiselect(
        "Trials",
        list(names),
        key=key,
        format_func=names.__getitem__,
        max_selections=MOST,
        help="The leaders of every sweep are offered; any others can be sent here from a leaderboard.",
    )
    links.keep_many("trials", picked)
    return {name: data.trial(sweeps[links.parted(name)[0]], links.parted(name)[1]) for name in picked}


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
    key = links.prepare("metric", names, "retention" if "retention" in names else names[0])
    metric = st.selectbox("Metric", names, key=key, format_func=words.metric_title, width=320) or names[0]
    links.keep("metric", metric)
    figure = curves.overlaid(every[every["name"] == metric], {name: name for name in trials}, metric)
    st.plotly_chart(figure, key="overlaid", alt=f"{metric} over updates")


def runs_of(sweeps: dict[str, SweepRow], trials: dict[str, TrialRow], whole: bool) -> list[cells.Runs]:
    """Return what is tested: the chosen runs alone, or every seed of their configurations."""
    out: dict[str, cells.Runs] = {}
    for name, trial in trials.items():
        sweep = sweeps[trial.sweep]
        frame = data.frame(sweep)
        if whole:
            same = frame[frame["cell"] == trial.cell]
            runs = cells.runs_by_cell(sweep, same)[0]
            label = f"{trial.sweep}: {trial.cell}"
            out[label] = cells.Runs(label, sweep, runs.trials, runs.planned)
        elif trial.state == "complete":
            # One seed each, under one number: single students are paired by their test examples alone.
            out[name] = cells.Runs(name, sweep, {0: trial.trial}, (0,))
    return [runs for runs in out.values() if runs.trials]


def paired_test(sweeps: dict[str, SweepRow], trials: dict[str, TrialRow]) -> None:
    """Whether the results differ, for new seeds and test examples."""
    splits = list(dict.fromkeys(s for t in trials.values() for s in cells.test_splits(data.frame(sweeps[t.sweep]))))
    if not splits:
        states.empty("Nothing to test yet", "Paired tests need complete trials.")
        return
    with st.container(horizontal=True):
        split = widgets.pick_one("split", "Test set", splits) if len(splits) > 1 else splits[0]
        whole = st.toggle("All seeds of these configurations", value=True, key="whole configurations")
    runs = runs_of(sweeps, trials, whole)
    if len(runs) < 2:
        states.empty("Nothing to test yet", "Choose two complete trials or more, of different configurations.")
        return
    names = [one.name for one in runs]
    reference = st.selectbox("Against", names, key="against")
    found, basis = cells.retention_cells(runs, split)
    try:
        rows = ablation_table(found, reference or names[0], np.random.default_rng(0))
    except UserError as error:
        st.warning(words.literal("; ".join(map(str, error.problems))), icon=":material/info:")
        return
    others = [row for row in rows if row.cell != reference]
    lines = [line(row) for row in others]
    title = "difference in retention, percentage points"
    st.plotly_chart(forest.effects(lines, title), key="differences", alt="Differences with intervals")
    table = effects.table(effects.Findings(tuple(found), reference or names[0], basis, tuple(rows), (), None), "")
    widgets.show_table(table, "differences table")
    widgets.downloads(table, f"comparison-{split}")
    if basis == cells.BY_EXAMPLE and all(len(c.seeds) == 1 for c in found):
        single_students(runs, split, reference or names[0])


def line(row: AblationRow) -> forest.Line:
    strong = row.p_adjusted is not None and row.p_adjusted < 0.05
    told = f"{row.n_pairs} shared seed{'s' if row.n_pairs != 1 else ''}, adjusted p {words.p_value(row.p_adjusted)}"
    if row.difference is None:
        told = "no seed in common with the reference"
    return forest.Line(row.cell, row.difference, row.difference_low, row.difference_high, strong, told)


def single_students(runs: list[cells.Runs], split: str, reference: str) -> None:
    """McNemar's test: is this very student better than that one."""
    answers = {one.name: cells.right(one.sweep.name, next(iter(one.trials.values())), split) for one in runs}
    base = answers[reference]
    rows = []
    for name, mine in answers.items():
        if name != reference and mine is not None and base is not None:
            found = mcnemar(mine[None], base[None])[0]
            rows.append((name, found.only_first, found.only_second, words.p_value(found.p)))
    columns = ["student", "right where the other is wrong", "wrong where the other is right", "p (McNemar)"]
    st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True, key="mcnemar", alt="McNemar's test")
    st.caption("Single students: this says whether these two differ, not whether their configurations do.")


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
        st.dataframe(differing, hide_index=True, key="settings", alt="Settings that differ")
    st.subheader("Curves", anchor=False)
    overlaid(sweeps, trials)
    st.subheader("Do the results differ?", anchor=False)
    paired_test(sweeps, trials)


page()

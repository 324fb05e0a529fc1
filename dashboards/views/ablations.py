"""What each part of a method is worth: effects with intervals, tests, power, and the cells that are missing."""

from collections.abc import Sequence

import streamlit as st

import cells
import data
import effects
import states
import widgets
import words
from charts import forest
from limbeck.compare import AblationRow, EffectRow
from limbeck.store import SweepRow

ALPHA = 0.05


def seeds_word(count: int, missing: Sequence[int]) -> str:
    planned = count + len(missing)
    return f"{count} of {planned} seeds" if missing else f"{count} seeds"


def effect_line(row: AblationRow) -> forest.Line:
    """A cell's difference to the reference as a line of the forest."""
    strong = row.p_adjusted is not None and row.p_adjusted < ALPHA
    told = f"{seeds_word(row.n_pairs, row.missing_seeds)}, adjusted p {words.p_value(row.p_adjusted)}"
    if row.difference is None:
        told = "no result yet" if row.n_seeds == 0 else "no seed in common with the reference"
    return forest.Line(row.cell, row.difference, row.difference_low, row.difference_high, strong, told)


def term_line(row: EffectRow) -> forest.Line:
    strong = row.p_adjusted is not None and row.p_adjusted < ALPHA
    told = f"{row.n_seeds} seeds, adjusted p {words.p_value(row.p_adjusted)}"
    name = row.term + (f" (= {', '.join(row.aliases)})" if row.aliases else "")
    return forest.Line(
        name,
        row.estimate,
        row.low,
        row.high,
        strong,
        "not every cell has a seed in common" if row.estimate is None else told,
    )


def head(sweep: SweepRow, found: effects.Findings) -> None:
    """The design in numbers."""
    done = sum(len(cell.seeds) for cell in found.cells)
    planned = done + sum(len(cell.missing) for cell in found.cells)
    rows = max((cell.sizes[0] for cell in found.cells if cell.sizes), default=0)
    with st.container(horizontal=True):
        st.metric("Configurations", f"{len(found.cells)}", border=True)
        st.metric("Runs", f"{done} of {planned}", border=True)
        st.metric("Test examples", f"{rows:,}" if found.basis == cells.BY_EXAMPLE else "–", border=True)
        reference = next(row for row in found.rows if row.cell == found.reference)
        st.metric("Reference retention", words.percent(reference.mean), border=True)
        if found.power is not None and found.power.difference is not None:
            st.metric(
                "Smallest difference found",
                f"{100 * found.power.difference:.1f} points",
                border=True,
                help=f"True differences of this size are found with a chance of {found.power.power:.0%} at α = "
                f"{found.power.alpha:g}, adjusted for {found.power.comparisons} comparisons, with the noise seen here.",
            )
    missing = [f"**{words.literal(c.name)}**: seed {', '.join(map(str, c.missing))}" for c in found.cells if c.missing]
    if missing:
        why = "still to come" if sweep.state == "running" else "failed or were never run"
        st.warning(f"Runs that {why}; nothing is filled in for them. " + "; ".join(missing), icon=":material/grid_off:")
    if found.basis == cells.RUN_LEVEL:
        st.info("Scored by one number a run: intervals hold for new seeds only, on this very test set.")


def page() -> None:
    sweep = widgets.pick_sweep(["ablation"], "No ablations yet")
    frame = data.frame(sweep)
    splits = cells.test_splits(frame)
    if not splits:
        states.empty("No complete runs yet", "Effects appear with the first runs that end.")
        return
    names = effects.tasks(frame)
    with st.container(horizontal=True):
        task = widgets.pick_one("task", "Task", names) if names else None
        split = widgets.pick_one("split", "Test set", splits) if len(splits) > 1 else splits[0]
    found = effects.findings(sweep, split, task)
    head(sweep, found)
    caption = f"{sweep.name}: retention on {split}"
    if found.effects:
        st.subheader("Main effects and interactions", anchor=False)
        figure = forest.effects([term_line(row) for row in found.effects], "effect on retention, percentage points")
        st.plotly_chart(figure, key="terms", alt="Effects with their intervals")
        table = effects.effects_table(found.effects, f"{caption}, effects")
        widgets.show_table(table, "terms table")
        widgets.downloads(table, f"{sweep.name}-{split}-effects")
    st.subheader("Every configuration against the reference", anchor=False)
    rows = [row for row in found.rows if row.cell != found.reference]
    title = f"difference to {found.reference}, percentage points of retention"
    st.plotly_chart(forest.effects([effect_line(row) for row in rows], title), key="forest", alt="Forest plot")
    table = effects.table(found, caption)
    widgets.show_table(table, "cells table")
    widgets.downloads(table, f"{sweep.name}-{split}")


page()

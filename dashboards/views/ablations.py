"""What each part of a method is worth: effects with intervals, tests, power, and the cells that are missing."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import streamlit as st

import cells
import data
import links
import markup
import states
import widgets
import words
from charts import forest
from limbeck.analysis.ablation import (
    ALL_TASKS,
    Ablation,
    Question,
    Section,
    ablation,
    cell_names,
    usual_reference,
)
from limbeck.analysis.ablation_tables import cells_tables, effects_tables
from limbeck.analysis.runs import read_groups
from limbeck.analysis.words import ALPHA
from limbeck.compare import AblationRow, EffectRow
from limbeck.store import SweepRow


@st.cache_resource(show_spinner=False, max_entries=64)
def _references(url: str, name: str, version: str) -> tuple[list[str], str | None]:
    names = cell_names(read_groups(data.reader(), name)[2])
    return names, usual_reference(names)


@st.cache_resource(show_spinner="Resampling seeds and examples…", max_entries=64)
def _compared(url: str, name: str, version: str, split: str, reference: str) -> Ablation:
    rng = np.random.default_rng(cells.RESAMPLING_SEED)
    return ablation(data.reader(), name, rng, Question(split=split, reference=reference))


def effect_line(row: AblationRow) -> forest.Line:
    """A cell's difference to the reference as a line of the forest."""
    strong = row.p_adjusted is not None and row.p_adjusted < ALPHA
    planned = row.n_seeds + len(row.missing_seeds)
    shared = f"{row.n_pairs} of {planned} seeds paired" if row.n_pairs < planned else f"{row.n_pairs} seeds paired"
    told = f"{shared}, adjusted p {words.p_value(row.p_adjusted)}"
    if row.difference is None:
        told = "no result yet" if row.n_seeds == 0 else "no seed in common with the reference"
    return forest.Line(row.cell, row.difference, row.difference_low, row.difference_high, strong, told)


def term_line(row: EffectRow) -> forest.Line:
    """An effect of a factorial design as a line of the forest."""
    strong = row.p_adjusted is not None and row.p_adjusted < ALPHA
    told = f"{row.n_seeds} seeds, adjusted p {words.p_value(row.p_adjusted)}"
    if row.estimate is None:
        told = "not every cell has a seed in common"
    name = row.term + (f" (or {', '.join(row.aliases)})" if row.aliases else "")
    return forest.Line(name, row.estimate, row.low, row.high, strong, told)


def missing(section: Section) -> list[str]:
    """Return cell and seeds of every run without a result."""
    rows = [line.row for line in section.lines if line.row.missing_seeds]
    return [f"**{words.literal(row.cell)}**: seed {', '.join(map(str, row.missing_seeds))}" for row in rows]


def head(sweep: SweepRow, found: Ablation, section: Section) -> None:
    """The design in numbers."""
    rows = [line.row for line in section.lines]
    done = sum(row.n_seeds for row in rows)
    planned = done + sum(len(row.missing_seeds) for row in rows)
    reference = next(row for row in rows if row.cell == found.reference)
    told = [
        ("Configurations", f"{len(rows)}"),
        ("Runs", f"{done} of {planned}"),
        ("Test examples", f"{section.examples:,}" if section.examples else "–"),
        (f"Reference {section.measure}", words.percent(reference.mean)),
    ]
    power = section.power
    if power is not None and power.difference is not None:
        # What it holds for stands below the table.
        told.append(("Smallest difference found", f"{100 * power.difference:.1f} points"))
    markup.numbers(told)
    gaps = missing(section)
    if gaps:
        why = "are still to come" if sweep.state == "running" else "failed or were never run"
        lost = f"Runs that {why}; nothing is filled in for them. " + "; ".join(gaps)
        st.warning(lost, icon=":material/grid_off:")
    if section.examples is None and section.task != ALL_TASKS:
        st.info("Scored by one number a run: intervals hold for new seeds only, on this very test set.")


def show_section(sweep: SweepRow, found: Ablation, section: Section, name: str) -> None:
    """Charts and tables of one task."""
    alone = dataclasses.replace(found, sections=(section,))
    head(sweep, found, section)
    unit = f"percentage points of {section.measure}"
    if section.effects:
        st.subheader("Main effects and interactions", anchor=False)
        terms = forest.effects([term_line(row) for row in section.effects], f"effect, {unit}")
        widgets.show_chart(terms, "terms", "Effects with their intervals")
        for table in effects_tables(alone):
            widgets.show_table(table)
            widgets.downloads(table, f"{name}-effects")
    st.subheader(f"Every configuration against {words.literal(found.reference)}", anchor=False)
    lines = [effect_line(line.row) for line in section.lines if line.row.cell != found.reference]
    title = f"difference to {found.reference}, {unit}"
    widgets.show_chart(forest.effects(lines, title), "forest", "Differences with their intervals")
    for table in cells_tables(alone):
        widgets.show_table(table)
        widgets.downloads(table, name)


def pick_reference(sweep: SweepRow) -> str | None:
    """Let the person choose what the others are measured against; None until one is named where none is usual."""
    names, usual = _references(data.database(), sweep.name, data.version(sweep))
    asked = links.asked("reference")
    if asked is not None and asked not in names:
        told = f"The configuration “{words.literal(asked)}” is not in this sweep."
        st.warning(told, icon=":material/link_off:")
    shown = {name: name for name in names} if usual else {"": "Choose one", **{name: name for name in names}}
    return widgets.pick_from("reference", "Reference", shown, usual or "") or None


def pick_section(sections: Sequence[Section]) -> Section:
    """Let the person choose a task where there are several."""
    names = [section.task for section in sections]
    if len(names) == 1:
        return sections[0]
    return sections[names.index(widgets.pick_one("task", "Task", names))]


def page() -> None:
    sweep = widgets.pick_sweep(["ablation", "grid"], "No ablations yet")
    if sweep is None:
        return
    splits = cells.test_splits(data.frame(sweep))
    if not splits:
        states.empty("No complete runs yet", "Effects appear with the first runs that end.")
        return
    with states.problems_shown():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            reference = pick_reference(sweep)
            split = widgets.pick_one("split", "Test set", splits) if len(splits) > 1 else splits[0]
            tasks = st.container(width="content")
        if reference is None:
            states.empty("No reference yet", "Choose above what the other configurations are measured against.")
            return
        found = _compared(data.database(), sweep.name, data.version(sweep), split, reference)
        with tasks:
            section = pick_section(found.sections)
        show_section(sweep, found, section, f"{sweep.name}-{split}")


page()

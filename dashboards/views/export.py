"""Take a student away: its card and sizes, its folder as a zip, and the command that does the same with proof."""

import re
import shlex

import pandas as pd
import streamlit as st

import copyable
import data
import exporter
import leaderboard
import links
import markup
import parcel
import states
import widgets
import words
from limbeck.store import SweepRow, TrialRow

LISTED = 300
POLL_SECONDS = 1.0
HALF = 600
"""Pixels. Two stand side by side in a wide window and below each other in a narrow one."""


def pick_complete(sweep: SweepRow) -> str | None:
    """Let the person choose a complete trial, the best by the objective first; None where there is none."""
    frame = data.frame(sweep)
    done = frame[frame["state"] == "complete"]
    if done.empty:
        states.empty("No complete trial yet", "Only trials that ran to their end leave a student.")
        return None
    board = leaderboard.ranked(done, sweep.objectives).head(LISTED)
    wanted = links.asked("trial")
    if wanted in set(done["trial"]) and wanted not in set(board["trial"]):
        board = pd.concat([done[done["trial"] == wanted].assign(rank=0), board])
    elif wanted is not None and wanted not in set(board["trial"]):
        told = f"Trial “{words.literal(wanted)}” left no student in this sweep; this is the best one that did."
        st.warning(told, icon=":material/link_off:")
    names = board["trial"].tolist()
    shown = {
        name: f"{name}  {words.percent(kept)} retention, {words.count(size)} parameters"
        for name, kept, size in zip(names, board["retention"], board["parameters"], strict=True)
    }
    key = links.prepare("trial", names, names[0], remembered=True)
    trial = st.selectbox("Student", names, key=key, format_func=shown.__getitem__)
    links.keep("trial", trial, remembered=True)
    return trial


def command(sweep: SweepRow, trial: TrialRow, form: str) -> str:
    """Return the command that exports this student."""
    name = widgets.file_name(f"{sweep.name}-{trial.trial}")
    words_of = ["limbeck", "export", sweep.name, "--trial", trial.trial, "--format", form, "--to", name]
    return " ".join(shlex.quote(word) for word in words_of)


def head(trial: TrialRow) -> None:
    told = [
        ("Test retention", words.percent(trial.retention)),
        ("Parameters", words.count(trial.parameters)),
        ("Without embeddings", words.count(trial.metrics.get("parameters_non_embedding"))),
    ]
    teacher = trial.metrics.get("teacher/parameters")
    if teacher and trial.parameters:
        told.append(("Share of the teacher's size", words.percent(trial.parameters / teacher)))
    if "latency_ms" in trial.metrics:
        told.append(("Latency", f"{trial.metrics['latency_ms']:.1f} ms"))
    markup.numbers(told)


def take_away(sweep: SweepRow, trial: TrialRow) -> None:
    """The zip and the commands."""
    name = widgets.file_name(f"{sweep.name}-{trial.trial}")
    found = parcel.find_student(trial, data.home())
    st.subheader("Download", anchor=False)
    form = widgets.pick_one("format", "Format", list(exporter.FORMATS), exporter.FORMATS.__getitem__)
    if found is None:
        where = words.literal(trial.folder or "not recorded")
        states.empty(
            "The student is not on this machine",
            f"Its folder is {where}. Start the dashboard where the runs are, with `--home`, or use the command below.",
        )
    elif form == "hf":
        st.download_button(
            f"Hugging Face folder ({words.size(found.size)})",
            lambda: parcel.packed(found, parcel.card(sweep, trial), name),
            f"{name}.zip",
            "application/zip",
            type="primary",
            icon=":material/folder_zip:",
            on_click="ignore",
            key="zip",
        )
        files = [(path.name, words.size(path.stat().st_size)) for path in found.files]
        st.html(markup.table(["file", "size"], files, "Files", [False, True]))
    else:
        converted(exporter.Wanted(data.database(), sweep.name, trial.trial, form), f"{name}-{form}")
    st.subheader("From a terminal", anchor=False)
    st.caption(
        "Writes the model with its full card, and proves in a fresh process that it answers as the student does."
    )
    copyable.show(command(sweep, trial, form), "export command")
    st.caption("Then try it:")
    copyable.show(f"echo 'a fine film' | limbeck predict {shlex.quote(name)}", "predict command")


@st.cache_resource(show_spinner=False)
def exports() -> exporter.Exports:
    """The exports of this server."""
    return exporter.Exports()


def converted(wanted: exporter.Wanted, name: str) -> None:
    """A format that has to be made first: the same command as from a terminal, its proof included."""
    running = exports().state(wanted).state in ("running", "busy")

    def body() -> None:
        made = exports().state(wanted)
        if running and made.state not in ("running", "busy"):
            st.rerun()
        if made.state == "running":
            st.info(f"Exporting and checking in a new process: {made.seconds:.0f} s", icon=":material/hourglass_top:")
        elif made.state == "busy":
            st.info("Another export is running; this one can begin when it ends.", icon=":material/hourglass_top:")
        elif made.state == "done" and made.folder is not None:
            folder = made.folder
            st.download_button(
                f"{exporter.FORMATS[wanted.form]} ({words.size(exporter.size(folder))})",
                lambda: exporter.zipped(folder, name),
                f"{name}.zip",
                "application/zip",
                type="primary",
                icon=":material/folder_zip:",
                on_click="ignore",
                key="converted zip",
            )
            copyable.show(made.said, "words of the export")
        else:
            if made.state == "failed":
                st.error("The export failed. It said:", icon=":material/error:")
                copyable.show(made.said, "words of the export")
            title = f"Prepare {exporter.FORMATS[wanted.form]}"
            if st.button(title, type="primary", icon=":material/build:", key="prepare"):
                exports().start(wanted)
                st.rerun()
            st.caption("Runs the command below on the dashboard's machine, which takes some seconds.")

    st.fragment(body, run_every=POLL_SECONDS if running else None)()


def preview(card: str) -> None:
    """Show a card without its front matter, its headings as small as the page's, its code to copy."""
    body = card.split("---\n", 2)[2]
    small = "\n".join(f"####{line.lstrip('#')}" if line.startswith("#") else line for line in body.splitlines())
    for place, part in enumerate(re.split(r"```(?:python)?\n(.*?)\n```", small, flags=re.DOTALL)):
        if place % 2:
            copyable.show(part, f"code {place}")
        else:
            st.markdown(part)


def page() -> None:
    left, right = st.columns(2)
    with left:
        sweep = widgets.pick_sweep()
    if sweep is None:
        return
    with right:
        name = pick_complete(sweep)
    if name is None:
        return
    trial = data.trial(sweep, name)
    head(trial)
    with st.container(horizontal=True, gap="large"):
        with st.container(width=HALF):
            take_away(sweep, trial)
        with st.container(width=HALF):
            st.subheader("Card", anchor=False)
            with st.container(border=True):
                preview(parcel.card(sweep, trial))
    target = {"sweep": sweep.name, "trial": name}
    st.page_link(links.TRIAL, label="Open the trial", icon=":material/science:", query_params=target)


page()

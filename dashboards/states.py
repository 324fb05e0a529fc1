"""Pages for when there is nothing to show: each says what is wrong and what to do next. Nothing is ever written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

import copyable
from limbeck.errors import UserError
from limbeck.store import (
    DatabaseDamagedError,
    DatabaseLockedError,
    DatabaseMissingError,
    DatabaseUnreachableError,
    NotLimbeckError,
    SchemaNewerError,
    SchemaOlderError,
    StoreError,
)
from words import literal

RETRY_SECONDS = 2.0
_TOLD: dict[type[StoreError], tuple[str, str, str | None]] = {
    DatabaseMissingError: (
        "No results yet",
        "This page opens by itself as soon as the first sweep has begun. Start one:",
        "limbeck sweep quickstart",
    ),
    DatabaseLockedError: (
        "The database is locked",
        "Another process is holding it. This page tries again by itself; nothing is lost.",
        None,
    ),
    SchemaOlderError: (
        "An older limbeck wrote these results",
        "The dashboard changes nothing. This command upgrades the database in place:",
        "limbeck sweeps",
    ),
    SchemaNewerError: (
        "A newer limbeck wrote these results",
        "Upgrade limbeck where the dashboard runs, then start it again:",
        "pip install --upgrade limbeck",
    ),
    NotLimbeckError: (
        "These are not limbeck's results",
        "Start the dashboard with the database of your sweeps:",
        "limbeck dashboard --database sqlite:///runs/limbeck.db",
    ),
    DatabaseDamagedError: (
        "The database is damaged",
        "Restore the file from a backup, or move it away and start anew. The trials' folders are not affected.",
        None,
    ),
    DatabaseUnreachableError: (
        "The database cannot be reached",
        "Check the address, the server and your rights. This page tries again by itself.",
        None,
    ),
}
_MAY_PASS = (DatabaseMissingError, DatabaseLockedError, DatabaseUnreachableError, SchemaOlderError)


def show_problem(error: UserError) -> None:
    """Show what is wrong with the database or the request."""
    told = next((words for kind, words in _TOLD.items() if isinstance(error, kind)), None)
    title, advice, command = told or ("This cannot be shown", "Go to the overview, or correct the address.", None)
    st.subheader(title, anchor=False)
    for problem in error.problems:
        st.markdown(literal(problem))
    st.markdown(advice)
    if command:
        copyable.show(command, f"command: {title}")
    if told is None:
        st.page_link("views/overview.py", label="Overview", icon=":material/arrow_back:")


@contextmanager
def problems_shown() -> Iterator[None]:
    """Show a problem with the database where it arises, instead of a traceback."""
    try:
        yield
    except UserError as error:
        show_problem(error)


def waiting_page(error: StoreError, check: Callable[[], object]) -> None:
    """Show the problem and, where it may pass by itself, look again every few seconds."""
    may_pass = isinstance(error, _MAY_PASS)

    @st.fragment(run_every=RETRY_SECONDS if may_pass else None)
    def body() -> None:
        try:
            check()
        except StoreError as again:
            show_problem(again)
        else:
            st.rerun()

    body()


def empty(title: str, advice: str, command: str | None = None) -> None:
    """Say that there is nothing here yet and what would put something here."""
    with st.container(border=True):
        st.markdown(f"**{title}**  \n{advice}")
        if command:
            copyable.show(command, f"command: {title}")

"""What is chosen stands in the address: every page and selection can be sent to somebody else."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

OVERVIEW = "views/overview.py"
SWEEP = "views/sweep.py"
RETENTION = "views/retention.py"
ABLATIONS = "views/ablations.py"
TRIAL = "views/trial.py"
COMPARE = "views/compare.py"
EXPORT = "views/export.py"


def asked(name: str) -> str | None:
    """Return what the address asks for, else what was last chosen in this session."""
    return st.query_params.get(name) or st.session_state.get(f"last {name}")


def prepare(name: str, options: Sequence[str], default: str | None) -> str:
    """Set the widget of that name to what the address asks for; return the widget's key.

    The address wins when it is new (a link, the browser's back button); afterwards the widget does.
    """
    key = f"choose {name}"
    wanted = st.query_params.get(name)
    changed = wanted is not None and wanted != st.session_state.get(f"address {name}")
    held = st.session_state.get(key)
    if changed or held not in options:
        found = [w for w in (wanted, st.session_state.get(f"last {name}"), default) if w is not None and w in options]
        st.session_state[key] = found[0] if found else None
    return key


def keep(name: str, value: str | None) -> None:
    """Write a choice into the address, and remember it for other pages."""
    st.session_state[f"last {name}"] = value
    st.session_state[f"address {name}"] = value
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def prepare_many(name: str, options: Sequence[str], default: Sequence[str]) -> str:
    """The same for a widget that takes several; the address repeats the name."""
    key = f"choose {name}"
    wanted = st.query_params.get_all(name)
    changed = bool(wanted) and wanted != st.session_state.get(f"address {name}")
    if changed or key not in st.session_state:
        source: Sequence[Any] = wanted or st.session_state.get(f"last {name}") or default
        st.session_state[key] = [value for value in source if value in options]
    else:
        st.session_state[key] = [value for value in st.session_state[key] if value in options]
    return key


def keep_many(name: str, values: Sequence[str]) -> None:
    """Write several choices into the address, and remember them for other pages."""
    st.session_state[f"last {name}"] = list(values)
    st.session_state[f"address {name}"] = list(values)
    if st.query_params.get_all(name) != list(values):
        st.query_params[name] = list(values)


def trial_url(sweep: str, trial: str) -> str:
    """Return the address of a trial's page, as seen from another page."""
    return "trial?" + urlencode({"sweep": sweep, "trial": trial})


def open_trial(sweep: str, trial: str) -> None:
    """Go to a trial's page."""
    st.switch_page(TRIAL, query_params={"sweep": sweep, "trial": trial})


def pair(sweep: str, trial: str) -> str:
    """Return a trial's name across sweeps. Trial ids hold no slash; sweeps' names may."""
    return f"{sweep}/{trial}"


def parted(name: str) -> tuple[str, str]:
    """Return (sweep, trial) of what `pair` made."""
    sweep, _, trial = name.rpartition("/")
    return sweep, trial

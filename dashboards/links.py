"""What is chosen stands in the address: every page and selection can be sent to somebody else, and one can go back.

Each write is an entry in the browser's history. So a page writes what it shows once, when it has been shown; defaults
of how it is shown are left out; and what somebody went back past is not written again.
"""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

import streamlit as st

OVERVIEW = "views/overview.py"
SWEEP = "views/sweep.py"
RETENTION = "views/retention.py"
ABLATIONS = "views/ablations.py"
TRIAL = "views/trial.py"
COMPARE = "views/compare.py"
EXPORT = "views/export.py"

Values = tuple[str, ...]
_PAGE, _SEEN, _LAST, _COLLECTED = "links page", "links seen", "links last", "links collected"


def begin(page: str) -> None:
    """Say which page is about to run."""
    state = st.session_state
    if state.get(_PAGE) != page:
        state[_PAGE] = page
        # Name -> what stood in the address when the page last ran.
        state[_SEEN] = {}
    state.setdefault(_LAST, {})
    state[_COLLECTED] = {}


def finish() -> None:
    """Write what the page has chosen into the address, in one go. A run that is broken off writes nothing."""
    collected: dict[str, Values] = st.session_state.get(_COLLECTED, {})
    _write(collected)
    st.session_state.pop(_COLLECTED, None)


def _write(new: Mapping[str, Values]) -> None:
    """Change the address where it says something else, and remember what it says."""
    now = {name: tuple(st.query_params.get_all(name)) for name in st.query_params}
    if any(now.get(name, ()) != values for name, values in new.items()):
        st.query_params.from_dict({name: list(values) for name, values in {**now, **new}.items() if values})
    _table(_SEEN).update(new)


def _table(name: str) -> dict[str, Values]:
    found: dict[str, Values] = st.session_state.setdefault(name, {})
    return found


def _address(name: str) -> Values:
    """Return what the address says, less what this run has taken back."""
    taken_back = st.session_state.get(_COLLECTED, {}).get(name) == ()
    return () if taken_back else tuple(st.query_params.get_all(name))


def asked(name: str) -> str | None:
    """Return what the address asks for."""
    return next(iter(_address(name)), None)


def asked_many(name: str) -> Values:
    """Return all that the address asks for under a name."""
    return _address(name)


def last(name: str) -> str | None:
    """Return what was last chosen in this session, on whatever page."""
    return next(iter(_table(_LAST).get(name, ())), None)


def key(name: str) -> str:
    """Return the key of the widget of that name."""
    return f"choose {name}"


def _choice(name: str, valid: Callable[[Values], Values], default: Values, *, remembered: bool) -> Values | None:
    """Return what the widget of that name must be set to; None where it holds its own.

    The address wins when it is new: a link, or the browser's back button. Nothing in it stands for the default, or, of
    what is `remembered` from page to page, for what was last chosen.
    """
    there, seen = _address(name), _table(_SEEN).get(name)
    if there == seen and key(name) in st.session_state:
        # Untouched and not in the address: the default, which may be another one by now.
        follows = not there and not remembered and _held(name) == _table(_LAST).get(name)
        return default if follows else None
    earlier = _table(_LAST).get(name, ()) if remembered or seen is None else ()
    return next(filter(None, map(valid, (there, earlier))), default)


def _held(name: str) -> Values:
    value = st.session_state[key(name)]
    return tuple(value) if isinstance(value, list) else tuple(filter(None, [value]))


def _keep(name: str, values: Values, default: Values, *, remembered: bool) -> None:
    """Have a choice stand in the address."""
    there, seen, before = _address(name), _table(_SEEN).get(name), _table(_LAST).get(name)
    _table(_LAST)[name] = values
    went_back = remembered and not there and bool(seen) and values == before
    shown = there if went_back else values if remembered or values != default else ()
    if _COLLECTED in st.session_state:
        st.session_state[_COLLECTED][name] = shown
    else:
        # A fragment runs alone: somebody has just chosen this.
        _write({name: shown})


def forget(name: str) -> None:
    """Take a choice back that belongs to another one: the old sweep's trial when the sweep changes."""
    _table(_LAST).pop(name, None)
    st.session_state.pop(key(name), None)
    if _COLLECTED in st.session_state:
        st.session_state[_COLLECTED][name] = ()
    else:
        _write({name: ()})


def prepare(name: str, options: Sequence[str], default: str, *, remembered: bool = False) -> str:
    """Set the widget of that name, which takes one of `options`, to what the address asks for; return its key."""
    found = _choice(name, lambda v: v[:1] if v and v[0] in options else (), (default,), remembered=remembered)
    if found is not None:
        st.session_state[key(name)] = found[0]
    elif st.session_state[key(name)] not in options:
        st.session_state[key(name)] = default
    return key(name)


def prepare_many(name: str, options: Sequence[str], default: Sequence[str], *, remembered: bool = False) -> str:
    """The same for a widget that takes several of `options`; the address repeats the name."""

    def valid(values: Values) -> Values:
        return tuple(value for value in values if value in options)

    found = _choice(name, valid, tuple(default), remembered=remembered)
    st.session_state[key(name)] = list(valid(st.session_state[key(name)]) if found is None else found)
    return key(name)


def prepare_text(name: str) -> str:
    """The same for a widget that takes any text."""
    found = _choice(name, lambda values: values[:1], (), remembered=False)
    if found is not None:
        st.session_state[key(name)] = "".join(found)
    return key(name)


def keep(name: str, value: str, default: str = "", *, remembered: bool = False) -> None:
    """Have what a widget says stand in the address, unless it is the default."""
    _keep(name, (value,) if value else (), (default,) if default else (), remembered=remembered)


def keep_many(name: str, values: Sequence[str], default: Sequence[str] = (), *, remembered: bool = False) -> None:
    """The same for several values."""
    _keep(name, tuple(values), tuple(default), remembered=remembered)


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

"""Sign-in with an OpenID Connect provider, where `[auth]` stands in Streamlit's secrets; else everyone is let in.

`[dashboard] allowed = ["ada@example.org", "*@example.net"]` beside it says whom to let in: a public provider vouches
for anybody's name, so without that list everybody with an account there may read.

Streamlit comes back from a provider at the first page, whatever was asked for. So the browser's tab keeps the address
that it was sent to, and goes there once somebody is let in.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import streamlit as st

from words import literal

_KEEP = """<script>
if (location.pathname !== "/" || location.search)
  sessionStorage.setItem("limbeck address", location.pathname + location.search)
</script>"""
# The origin stands before the path: a path such as //example.com would lead elsewhere by itself.
_GO_THERE = """<script>
const kept = sessionStorage.getItem("limbeck address")
sessionStorage.removeItem("limbeck address")
if (kept && location.pathname === "/" && !location.search) location.replace(location.origin + kept)
</script>"""


def allowed(user: Mapping[str, Any], patterns: Sequence[str]) -> bool:
    """Say whether a signed-in person may read: a verified address that a pattern names, or no patterns at all."""
    if not patterns:
        return True
    address = str(user.get("email") or "").casefold()
    # A provider that does not say whether it checked the address is trusted; one that says it did not is not.
    return user.get("email_verified", True) is True and any(fnmatchcase(address, p.casefold()) for p in patterns)


def require() -> None:
    """Go on only for people who may read; show the others how to get in."""
    if not _configured():
        return
    if find_spec("authlib") is None:
        st.title("No access", anchor=False)
        st.markdown("Sign-in is configured, but the package it needs is not installed where the dashboard runs:")
        st.code("pip install 'streamlit[auth]'", language=None)
        st.stop()
    if not st.user.is_logged_in:
        st.title("limbeck", anchor=False)
        st.button("Sign in", on_click=st.login, type="primary")
        st.html(_KEEP, unsafe_allow_javascript=True)
        st.stop()
    if not allowed(st.user.to_dict(), st.secrets.get("dashboard", {}).get("allowed", ())):
        st.title("No access", anchor=False)
        st.markdown(f"{literal(st.user.get('email') or 'This account')} may not read these results.")
        st.button("Sign in as somebody else", on_click=st.logout)
        st.html(_KEEP, unsafe_allow_javascript=True)
        st.stop()
    st.html(_GO_THERE, unsafe_allow_javascript=True)


def _configured() -> bool:
    # Asking for secrets where there is no file would show an error.
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets

"""The dashboard: `limbeck dashboard` starts it; `streamlit run dashboards/app.py` does too."""

from pathlib import Path

import streamlit as st

import data
import links
import sign_in
import states
from limbeck.store import StoreError

# A picture of our own: Streamlit's icons would be asked of a server elsewhere when they stand in the browser's tab.
st.set_page_config(page_title="limbeck", page_icon=str(Path(__file__).parent / "drop.svg"), layout="wide")

PAGES = [
    st.Page(links.OVERVIEW, title="Overview", icon=":material/dashboard:", default=True),
    st.Page(links.SWEEP, title="Sweep", icon=":material/query_stats:", url_path="sweep"),
    st.Page(links.RETENTION, title="Retention", icon=":material/water_drop:", url_path="retention"),
    st.Page(links.ABLATIONS, title="Ablations", icon=":material/biotech:", url_path="ablations"),
    st.Page(links.TRIAL, title="Trial", icon=":material/science:", url_path="trial"),
    st.Page(links.COMPARE, title="Compare", icon=":material/compare_arrows:", url_path="compare"),
    st.Page(links.EXPORT, title="Export", icon=":material/download:", url_path="export"),
]


def main() -> None:
    """Run the page that the address names, or say why there is nothing to show."""
    sign_in.require()
    page = st.navigation(PAGES, position="top")
    try:
        data.reader().check()
    except StoreError as error:
        states.waiting_page(error, lambda: data.reader().check())
        return
    links.begin(page.url_path)
    with states.problems_shown():
        page.run()
    links.finish()


main()

"""Starts the server once everything pages need has been read in, so that nobody's first page waits for it.

`limbeck dashboard` runs this file; what follows it on the command line goes to `streamlit run`.
"""

import sys
from pathlib import Path

import streamlit as st
import streamlit.web.cli
from starlette.middleware import Middleware

from early import Early
from limbeck import compare, report, store
from packed import Packed

NEEDED = (compare, report, store)
app = st.App(str(Path(__file__).parent / "app.py"), middleware=[Middleware(Early), Middleware(Packed)])


def main() -> None:
    sys.argv = ["streamlit", "run", __file__, *sys.argv[1:]]
    streamlit.web.cli.main()


if __name__ == "__main__":
    main()

"""Starts the server once everything pages need has been read in, so that nobody's first page waits for it.

`limbeck dashboard` runs this file; what follows it on the command line goes to `streamlit run`.
"""

import sys
from pathlib import Path

import plotly.graph_objects as go
import streamlit.web.cli

from limbeck import compare, report, store

APP = Path(__file__).parent / "app.py"
NEEDED = (compare, report, store)


def main() -> None:
    # The first figure reads in a second's worth of Plotly.
    go.Figure(go.Scatter(x=[0], y=[0]), layout={"xaxis": {"title": {"text": ""}}}).to_json()
    sys.argv = ["streamlit", "run", str(APP), *sys.argv[1:]]
    streamlit.web.cli.main()


if __name__ == "__main__":
    main()

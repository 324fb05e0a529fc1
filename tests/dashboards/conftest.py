"""A results database to look at, and pages without a browser."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# Streamlit puts the folder of the app there.
DASHBOARDS = Path(__file__).resolve().parents[2] / "dashboards"
sys.path.insert(0, str(DASHBOARDS))

import streamlit as st  # noqa: E402
from streamlit.testing.v1 import AppTest  # noqa: E402

from .demo import build  # noqa: E402

SECONDS = 120.0
Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a database with sweeps of every kind and state."""
    folder = tmp_path_factory.mktemp("demo")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; its event loop is not to be there for the tests of other modules."""
    from playwright.sync_api import sync_playwright

    from .browsing import CHROMIUM, FLAGS

    assert CHROMIUM is not None, "no Chromium here: .ci/run installs it"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def at_demo(demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the pages read the demo database."""
    yield from _reading(demo, monkeypatch)


@pytest.fixture
def at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the pages read an empty folder's database."""
    yield from _reading(tmp_path, monkeypatch)


def _reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LIMBECK_HOME", str(folder))
    monkeypatch.setenv("LIMBECK_DATABASE", f"sqlite:///{folder / 'limbeck.db'}")
    yield folder
    st.cache_resource.clear()


@pytest.fixture
def open_page() -> Open:
    """Open a page as its address would, and hold it to having no bug to show."""

    def opened(page: str = "overview", **address: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(DASHBOARDS / "app.py"), default_timeout=SECONDS)
        for name, value in address.items():
            app.query_params[name] = value
        if page != "overview":
            app.switch_page(f"views/{page}.py")
        return run(app)

    return opened


def run(app: AppTest) -> AppTest:
    app.run()
    assert [error.value for error in app.exception] == []
    return app


def said(app: AppTest) -> str:
    """Everything a page says in words."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "warning", "error", "info", "code")
    words = [str(element.value) for kind in kinds for element in getattr(app, kind)]
    return "\n".join([*words, *copyable(app)])


def numbers(app: AppTest) -> dict[str, str]:
    """The numbers a page begins with, by their names."""
    return dict(re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", "".join(_markup(app))))


def tables(app: AppTest) -> list[pd.DataFrame]:
    """The tables of a page that do not sort, as the words in them."""
    found = []
    for text in filter(lambda text: "<table" in text, _markup(app)):
        lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"<tr>(.*?)</tr>", text)]
        first, *rest = [[unescape(cell) for cell in line] for line in lines]
        found.append(pd.DataFrame(rest, columns=first))
    return found


def _markup(app: AppTest) -> list[str]:
    return [element.proto.body for element in app.get("html")]


def copyable(app: AppTest) -> list[str]:
    """What a page offers to copy."""
    return [json.loads(element.proto.json)["text"] for element in app.get("bidi_component")]


os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")

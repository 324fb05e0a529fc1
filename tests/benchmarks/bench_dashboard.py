"""Measure the dashboard in a browser on 10,000 trials and 1,000,000 metric rows, beside optuna-dashboard on its study.

Not part of the test suite: `python tests/benchmarks/bench_dashboard.py`. A page's first paint is the time from asking
for its address in an open window to its first table or chart being drawn; the whole page stands when all of them are
and its script has ended. Cold is the whole in a browser that has the program still to load; the others are medians of
the later visits. A rerun is what the server needs to run the page again. Both servers read the same file on the same
machine in the same run. It ends with 1 where a page is over its limit, where memory grows from one change of view to
the next, or where the other dashboard's first paint comes before our whole page.

With `--home DIR` the database is kept in DIR/10000 and found again by the next run.
"""

import argparse
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "platform"))

from make_big_database import SWEEP, add_study, make
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from tests.dashboards import demo

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
TABLE, CHART = '[data-testid="stDataFrame"] canvas', '[data-testid="stEChartsChart"][aria-busy=false] canvas'
TO_COME = "[data-testid=stSkeleton], [data-testid=stEChartsChart][aria-busy=true]"
"""What stands on a page of ours where something is still to be drawn."""
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PAINTED = """what => {
    const [css, text] = what.split("=~")
    return [...document.querySelectorAll(css)].some(e => !text || new RegExp(text).test(e.textContent))
}"""
"""Whether what a page shows is there, with a text where one is named."""
STANDS = """toCome => {
    const app = document.querySelector("[data-testid=stApp]")
    return !document.querySelector(toCome) && (!app || app.dataset.testScriptState === "notRunning")
}"""
"""Whether nothing is to come or runs."""
SHOWN = "view => new URL(location).searchParams.get('view') === view"
PAINT_MOST, RERUN_MOST, BYTES_MOST = 1.5, 0.3, 5e6
CHANGES = 60
VIEWS = ("Curves", "History", "Slices", "Front", "Leaderboard")
GROWTH_MOST = 1.3
"""Heap after all changes of view over that after the first round: what is kept of a view is not kept of each visit."""
WINDOW_MS = 1_500
PATIENCE_MS = 40_000
"""A page that has not painted by then never does."""
OTHER_VISITS = 3
"""Of the other dashboard's pages: its list of trials takes half a minute, and some of its charts do not come at all."""
PAGES = {
    "overview": ("", TABLE),
    "sweep: leaderboard": (f"sweep?sweep={SWEEP}", TABLE),
    "sweep: curves": (f"sweep?sweep={SWEEP}&view=Curves", CHART),
    "sweep: history": (f"sweep?sweep={SWEEP}&view=History", CHART),
    "sweep: parallel": (f"sweep?sweep={SWEEP}&view=Parallel", CHART),
    "sweep: slices": (f"sweep?sweep={SWEEP}&view=Slices", CHART),
    "sweep: importance": (f"sweep?sweep={SWEEP}&view=Importance", CHART),
    "sweep: front": (f"sweep?sweep={SWEEP}&view=Front", CHART),
    "retention": (f"retention?sweeps={SWEEP}&sweeps=sizes", CHART),
    "ablations": ("ablations?sweep=mate-ablation", CHART),
    "trial": (f"trial?sweep={SWEEP}", CHART),
    "trial: configuration": (f"trial?sweep={SWEEP}&show=Configuration", TABLE),
    "compare": (f"compare?trials={SWEEP}/&trials=sizes/", CHART),
    "export": (f"export?sweep={SWEEP}", "#root=~From a terminal"),
}
OTHERS = {
    "overview": ("dashboard", f"#dashboard=~{SWEEP}"),
    "sweep: leaderboard": ("dashboard/studies/1/trials", "#dashboard=~Trial [0-9]+"),
    "sweep: history": ("dashboard/studies/1", ".js-plotly-plot .main-svg"),
    "sweep: importance": ("dashboard/studies/1", ".js-plotly-plot .barlayer .point"),
    "sweep: parallel": ("dashboard/studies/1/analytics", ".js-plotly-plot .parcoords"),
    "sweep: slices": ("dashboard/studies/1/analytics", ".js-plotly-plot .main-svg"),
}
"""What of optuna-dashboard shows what a page of ours does: its studies, its list of trials (its table shows nothing in
version 0.21), the first chart of a study, its importances, the parallel coordinates and the first of the slices."""


@dataclass
class Seen:
    """What was measured of one page."""

    paints: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    reruns: list[float] = field(default_factory=list)
    bytes_data: int = 0
    """Sent for what is on the page."""
    bytes_all: int = 0
    """With the program that shows it."""
    heap: float = 0.0


class Traffic:
    """Counts what a page is sent, and when."""

    def __init__(self, page: Page) -> None:
        self.data = self.all = 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Performance.enable")
        session.on("Network.loadingFinished", self._loaded)
        page.on("websocket", self._socket)
        self.session = session

    def _loaded(self, event: dict[str, Any]) -> None:
        self.all += int(event["encodedDataLength"])

    def _socket(self, socket: Any) -> None:
        socket.on("framereceived", self._received)

    def _received(self, payload: str | bytes) -> None:
        self.data += len(payload)
        self.all += len(payload)

    def heap(self) -> float:
        """Return the page's JavaScript heap after a collection, in MB."""
        self.session.send("HeapProfiler.collectGarbage")
        found = {m["name"]: m["value"] for m in self.session.send("Performance.getMetrics")["metrics"]}
        return float(found["JSHeapUsedSize"]) / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: list[str], url: str) -> Iterator[None]:
    """Run a server until it is no longer needed."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if time.monotonic() > until or server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield
    finally:
        server.terminate()
        server.wait(30)


def visit_all(
    browser: Browser, site: str, pages: dict[str, tuple[str, str]], seen: dict[str, Seen], visits: int
) -> None:
    """Visit the pages in turn, so many times: what else the machine does for a while slows few visits of each.

    Every page has a profile of its own: the first visit is that of a browser that knows nothing of it yet.
    """
    profiles = {name: browser.new_context(viewport={"width": 1440, "height": 1000}) for name in pages}
    for _ in range(visits):
        for name, (address, selector) in pages.items():
            visit(profiles[name], f"{site}/{address}", selector, seen[name])
    for profile in profiles.values():
        profile.close()


def visit(profile: BrowserContext, url: str, selector: str, seen: Seen) -> None:
    """Ask for a page and note when it stands."""
    page = profile.new_page()
    traffic = Traffic(page)
    # A new window draws its own frame and menus, for a second on both cores: not a part of any page.
    page.wait_for_timeout(WINDOW_MS)
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    seen.paints.append(math.inf)
    seen.wholes.append(math.inf)
    with suppress(PlaywrightTimeout):
        # Looked for at every frame: a locator that waits looks twice a second in the end.
        page.wait_for_function(PAINTED, arg=selector, timeout=PATIENCE_MS)
        seen.paints[-1] = time.perf_counter() - begin
        page.wait_for_function(STANDS, arg=TO_COME, timeout=PATIENCE_MS)
        seen.wholes[-1] = time.perf_counter() - begin
    page.wait_for_timeout(500)
    seen.bytes_data, seen.bytes_all = max(seen.bytes_data, traffic.data), max(seen.bytes_all, traffic.all)
    seen.heap = traffic.heap()
    page.close()


def rerun_seconds(address: str, visits: int) -> list[float]:
    """Return what the server needs to run a page again, from being asked to having said everything."""
    from streamlit.testing.v1 import AppTest

    page, _, asked = address.partition("?")
    app = AppTest.from_file(str(ROOT / "dashboards" / "app.py"), default_timeout=120)
    for name, values in parse_qs(asked).items():
        app.query_params[name] = values
    if page:
        app.switch_page(f"views/{page}.py")
    app.run()
    took = []
    for _ in range(visits):
        begin = time.perf_counter()
        app.run()
        took.append(time.perf_counter() - begin)
    assert not app.exception
    return took


def growth(browser: Browser, site: str) -> tuple[float, float]:
    """Return the heap after a few changes of view and after many, in MB."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    traffic = Traffic(page)
    page.goto(f"{site}/sweep?sweep={SWEEP}")
    page.locator(TABLE).first.wait_for(timeout=PATIENCE_MS)
    heaps = []
    for i in range(CHANGES):
        view = VIEWS[i % len(VIEWS)]
        page.get_by_role("radio", name=view, exact=True).click()
        # The address says so when the page has been shown; the usual view is left out of it.
        page.wait_for_function(SHOWN, arg=None if view == "Leaderboard" else view)
        page.locator(TABLE if view == "Leaderboard" else CHART).first.wait_for()
        page.wait_for_selector(IDLE)
        if i + 1 in (2 * len(VIEWS), CHANGES):
            heaps.append(traffic.heap())
    page.close()
    return heaps[0], heaps[1]


def usual(times: list[float]) -> float:
    """Return the median of the visits by a browser that has the program."""
    return statistics.median(times[1:] or times)


def line(name: str, seen: Seen) -> bool:
    """Print the figures of a page; return whether the limits hold."""
    rerun = f"{statistics.median(seen.reruns):>8.2f}" if seen.reruns else f"{'':>8}"
    row = f"{name:<28}{seen.wholes[0]:>8.2f}{usual(seen.paints):>8.2f}{usual(seen.wholes):>8.2f}{rerun}"
    row += f"{seen.bytes_data / 1e6:>9.2f}{seen.bytes_all / 1e6:>9.2f}{seen.heap:>9.0f}"
    slow = bool(seen.reruns) and (usual(seen.paints) > PAINT_MOST or statistics.median(seen.reruns) > RERUN_MOST)
    over = slow or (bool(seen.reruns) and seen.bytes_all > BYTES_MOST)
    print(row + ("  over the limit" if over else ""), flush=True)
    return not over


def beside(ours: dict[str, Seen], theirs: dict[str, Seen]) -> bool:
    """Print both dashboards' times to show the same; return whether ours are the shorter ones. Never is no time."""
    good = True
    for name, other in theirs.items():
        mine, their = usual(ours[name].wholes), usual(other.paints)
        told = "  NOT FOUND THERE" if math.isinf(their) else "" if mine < their else "  SLOWER"
        good = good and not told
        print(f"{name}: {mine:.2f} s, optuna-dashboard {their:.2f} s{told}")
    return good


def measured(browser: Browser, site: str, visits: int) -> tuple[dict[str, Seen], bool]:
    """Measure every page of ours, and what a browser holds that has been changing its view for long."""
    found = {name: Seen(reruns=rerun_seconds(address, visits)) for name, (address, _) in PAGES.items()}
    visit_all(browser, site, PAGES, found, visits)
    held = [line(name, seen) for name, seen in found.items()]
    few, many = growth(browser, site)
    print(f"heap after {2 * len(VIEWS)} changes of view {few:.0f} MB, after {CHANGES} {many:.0f} MB", flush=True)
    return found, all(held) and many <= GROWTH_MOST * few


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=6)
    parser.add_argument("--home", type=Path, help="where databases are kept from run to run")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        home = (arguments.home or Path(temporary)).absolute() / str(arguments.trials)
        url = f"sqlite:///{home / 'limbeck.db'}"
        if not (home / "made").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            demo.build(home)
            make(home, arguments.trials)
            add_study(url)
            (home / "made").touch()
        print(f"{(home / 'limbeck.db').stat().st_size / 1e6:.0f} MB of results", flush=True)
        os.environ |= {"LIMBECK_HOME": str(home), "LIMBECK_DATABASE": url, "STREAMLIT_LOGGER_LEVEL": "error"}
        sys.path.insert(0, str(ROOT / "dashboards"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            print(
                f"{'page':<28}{'cold':>8}{'paint':>8}{'whole':>8}{'rerun':>8}{'data MB':>9}{'all MB':>8}{'heap MB':>9}"
            )
            port = free_port()
            site = f"http://127.0.0.1:{port}"
            serve = [sys.executable, "-m", "limbeck.cli", "dashboard", "--home", str(home), "--port", str(port)]
            with serving(serve, f"{site}/_stcore/health"):
                ours, good = measured(browser, site, arguments.visits)
            port = free_port()
            there = f"http://127.0.0.1:{port}"
            optuna = [str(Path(sys.executable).parent / "optuna-dashboard"), url, "--port", str(port), "--quiet"]
            with serving(optuna, f"{there}/api/meta"):
                theirs = {name: Seen() for name in OTHERS}
                visit_all(browser, there, OTHERS, theirs, min(OTHER_VISITS, arguments.visits))
                for name, seen in theirs.items():
                    line(f"there: {name}", seen)
            browser.close()
        good = beside(ours, theirs) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure the dashboard in a browser on 10,000 trials and 1,000,000 metric rows, beside optuna-dashboard on its study.

Not part of the test suite: `python tests/benchmarks/bench_dashboard.py`. A page's first paint is the time from asking
for its address to its tables and charts being there: cold in a browser that has the program still to load, then, by the
median of the other visits, in one that has it. Its rerun is what the server needs to run it again. Both servers read
the same file on the same machine in the same run.
"""

import argparse
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
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from tests.dashboards import demo

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
TABLE, CHART, AXES = '[data-testid="stDataFrame"] canvas', ".js-plotly-plot .main-svg", ".js-plotly-plot .parcoords"
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PAINT_MOST, RERUN_MOST, BYTES_MOST = 1.5, 0.3, 5e6
CHANGES = 40
PATIENCE_MS = 40_000
"""A page that has not painted by then is given this as its time."""
PAGES = {
    "overview": ("", TABLE),
    "sweep: leaderboard": (f"sweep?sweep={SWEEP}", TABLE),
    "sweep: curves": (f"sweep?sweep={SWEEP}&view=Curves", CHART),
    "sweep: history": (f"sweep?sweep={SWEEP}&view=History", CHART),
    "sweep: parallel": (f"sweep?sweep={SWEEP}&view=Parallel", AXES),
    "sweep: slices": (f"sweep?sweep={SWEEP}&view=Slices", CHART),
    "sweep: importance": (f"sweep?sweep={SWEEP}&view=Importance", CHART),
    "sweep: front": (f"sweep?sweep={SWEEP}&view=Front", CHART),
    "retention": (f"retention?sweeps={SWEEP}&sweeps=sizes", CHART),
    "ablations": ("ablations?sweep=mate-ablation", TABLE),
    "trial": (f"trial?sweep={SWEEP}", CHART),
    "trial: configuration": (f"trial?sweep={SWEEP}&show=Configuration", TABLE),
    "compare": (f"compare?trials={SWEEP}/&trials=sizes/", CHART),
    "export": (f"export?sweep={SWEEP}", '[data-testid="stCode"]'),
}


@dataclass
class Seen:
    """What was measured of one page."""

    paints: list[float] = field(default_factory=list)
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


def paints(browser: Browser, url: str, selector: str, seen: Seen, visits: int) -> None:
    """Ask for a page, first in a browser that knows nothing of it yet."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    for _ in range(visits):
        page = context.new_page()
        traffic = Traffic(page)
        begin = time.perf_counter()
        page.goto(url, wait_until="commit")
        with suppress(PlaywrightTimeout):
            page.locator(selector).first.wait_for(timeout=PATIENCE_MS)
        seen.paints.append(time.perf_counter() - begin)
        page.wait_for_timeout(500)
        seen.bytes_data, seen.bytes_all = max(seen.bytes_data, traffic.data), max(seen.bytes_all, traffic.all)
        seen.heap = traffic.heap()
        page.close()
    context.close()


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
    views = ("Curves", "History", "Slices", "Front", "Leaderboard")
    heaps = []
    for i in range(CHANGES):
        page.get_by_role("radio", name=views[i % len(views)], exact=True).click()
        page.wait_for_timeout(400)
        page.wait_for_selector(IDLE)
        if i + 1 in (2 * len(views), CHANGES):
            heaps.append(traffic.heap())
    page.close()
    return heaps[0], heaps[1]


def beside(browser: Browser, site: str, visits: int) -> None:
    """Measure the study's own pages there: its list of studies, its charts, its table of trials."""
    pages = {
        "optuna-dashboard: studies": ("dashboard", f"text={SWEEP}"),
        "optuna-dashboard: charts": ("dashboard/studies/1", CHART),
        "optuna-dashboard: table": ("dashboard/studies/1/trialTable", "td, [role=gridcell]"),
    }
    for name, (address, selector) in pages.items():
        seen = Seen()
        paints(browser, f"{site}/{address}", selector, seen, visits)
        line(name, seen)


def line(name: str, seen: Seen) -> bool:
    """Print the figures of a page; return whether the limits hold."""
    paint, rerun = statistics.median(seen.paints[1:] or seen.paints), statistics.median(seen.reruns or [float("nan")])
    row = f"{name:<28}{seen.paints[0]:>8.2f}{paint:>8.2f}{rerun:>8.2f}"
    row += f"{seen.bytes_data / 1e6:>9.2f}{seen.bytes_all / 1e6:>8.2f}{seen.heap:>9.0f}"
    over = bool(seen.reruns) and (paint > PAINT_MOST or max(seen.reruns) > RERUN_MOST or seen.bytes_data > BYTES_MOST)
    print(row + ("  over the limit" if over else ""), flush=True)
    return not over


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument("--home", type=Path, help="a folder made by an earlier run, or to be made")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        home = (arguments.home or Path(temporary)).absolute()
        url = f"sqlite:///{home / 'limbeck.db'}"
        if not (home / "limbeck.db").exists():
            demo.build(home)
            make(home, arguments.trials)
            add_study(url)
        print(f"{(home / 'limbeck.db').stat().st_size / 1e6:.0f} MB of results", flush=True)
        os.environ |= {"LIMBECK_HOME": str(home), "LIMBECK_DATABASE": url}
        sys.path.insert(0, str(ROOT / "dashboards"))
        port, other = free_port(), free_port()
        site, there = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"
        serve = [sys.executable, "-m", "limbeck.cli", "dashboard", "--home", str(home), "--port", str(port)]
        optuna = [str(Path(sys.executable).parent / "optuna-dashboard"), url, "--port", str(other), "--quiet"]
        good = True
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            print(f"{'page':<28}{'cold':>8}{'paint':>8}{'rerun':>8}{'data MB':>9}{'all MB':>8}{'heap MB':>9}")
            with serving(serve, f"{site}/_stcore/health"):
                for name, (address, selector) in PAGES.items():
                    seen = Seen(reruns=rerun_seconds(address, arguments.visits))
                    paints(browser, f"{site}/{address}", selector, seen, arguments.visits)
                    good = line(name, seen) and good
                few, many = growth(browser, site)
                print(f"heap after 10 changes of view {few:.0f} MB, after {CHANGES} {many:.0f} MB", flush=True)
            with serving(optuna, f"{there}/api/meta"):
                beside(browser, there, arguments.visits)
            browser.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

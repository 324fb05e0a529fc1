"""The dashboard as people use it: in a browser, from the command line's own server."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from limbeck.store import Outcome, open_reader, open_store
from small_students import write_student

from .browsing import PATIENCE_MS, needs_browser, served
from .demo import HOSTILE, build
from .trained import SWEEP, TRIAL, add_trained

pytestmark = needs_browser
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 768, "height": 900}
REMEMBER = "window.kept = [...document.querySelectorAll('[data-testid=stHtml], [data-testid=stDataFrame] canvas')]"
BLUE = """canvas => {
    const {width, height} = canvas, {data} = canvas.getContext('2d').getImageData(0, 0, width, height)
    const blue = (x, y) => { const i = 4 * (y * width + x); return data[i + 3] > 150 && data[i + 2] - data[i] > 60 }
    for (let y = 60; y < height - 4; y++) for (let x = 4; x < width - 4; x++)
        if (blue(x, y) && blue(x - 2, y) && blue(x + 2, y) && blue(x, y - 2) && blue(x, y + 2)) return [x, y]
    return null
}"""
"""Finds a point in the colour of complete trials on a figure, which is drawn on a canvas, below its legend."""
ROW, HEADER = 35, 36
"""Heights of a table's rows and header in pixels: tables are drawn on a canvas."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[str]:
    with served(home) as address:
        yield address


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    """One for all tests: what has been loaded once stays in its cache."""
    context = browser.new_context(viewport=WIDE, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A new page, held to asking nothing of other servers."""
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def best(home: Path) -> Any:
    from limbeck.report import leaderboard

    with open_reader(f"sqlite:///{home / 'limbeck.db'}") as reader:
        return reader.trial("mate", leaderboard(reader, "mate")[0].trial)


def settled(page: Any) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')


def until(page: Any, done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what no event tells of; nothing else happens in the browser while Python sleeps by itself."""
    for _ in range(int(seconds / 0.1)):
        if done():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")


def click_row(page: Any, row: int, seen: Callable[[], bool]) -> None:
    """Tick a row of the first table; again where the click was lost. Not soon: a second one takes the tick away."""
    table = page.get_by_test_id("stDataFrame").first
    table.locator("canvas [role=gridcell]").first.wait_for(state="attached")
    for _ in range(4):
        table.click(position={"x": 18, "y": HEADER + ROW * row + ROW // 2})
        with suppress(AssertionError):
            return until(page, seen, 15)
    raise AssertionError("the table takes no clicks")


def test_from_the_overview_to_a_sweep_to_a_trial(page: Any, site: str, home: Path) -> None:
    page.goto(site)
    page.get_by_text("Sweeps running").wait_for()
    settled(page)
    click_row(page, 0, lambda: "/sweep?" in page.url)
    page.wait_for_url(re.compile(r"/sweep\?.*sweep=mate"))
    page.get_by_text("Stopped early", exact=True).wait_for()
    settled(page)
    opens = page.get_by_role("link", name="Open this trial")
    click_row(page, 0, lambda: opens.count() > 0)
    opens.click()
    page.wait_for_url(re.compile(rf"/trial\?.*trial={best(home).trial}"))
    page.get_by_text("Losses by part").wait_for()
    page.go_back()
    page.get_by_text("Stopped early", exact=True).wait_for()
    settled(page)
    page.go_back()
    page.get_by_text("Sweeps running").wait_for()


def test_a_view_is_chosen_and_taken_back(page: Any, site: str) -> None:
    page.goto(f"{site}/sweep?sweep=mate")
    page.get_by_role("radio", name="Importance").click()
    page.get_by_text("PED-ANOVA").wait_for()
    page.wait_for_url(re.compile("view=Importance"))
    settled(page)
    page.go_back()
    page.get_by_label("Order").wait_for()
    until(page, lambda: "view" not in page.url, 5)


def test_a_leaderboard_is_reached_by_keyboard(page: Any, site: str, home: Path) -> None:
    page.goto(f"{site}/sweep?sweep=mate")
    page.get_by_role("textbox", name="Filter").focus()
    page.get_by_test_id("stDataFrame").wait_for()
    settled(page)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName === 'CANVAS'"):
            break
    chosen = page.get_by_role("link", name=re.compile("Open this trial|Compare these"))
    for _ in range(5):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+Space")
        with suppress(AssertionError):
            return until(page, lambda: chosen.count() > 0, 5)
    raise AssertionError("the table takes no keys")


def test_a_filter_by_keyboard_stands_in_the_address(page: Any, site: str) -> None:
    page.goto(f"{site}/sweep?sweep=mate")
    box = page.get_by_role("textbox", name="Filter")
    box.focus()
    page.keyboard.type("state = failed")
    page.keyboard.press("Enter")
    page.get_by_text("3 of 36 trials").wait_for()
    page.wait_for_url(re.compile("filter=state"))
    page.reload()
    page.get_by_text("3 of 36 trials").wait_for()
    # The number of rows may stand there before the word they were filtered by.
    until(page, lambda: page.get_by_role("textbox", name="Filter").input_value() == "state = failed", 5)


def test_a_point_leads_to_its_trial(page: Any, site: str) -> None:
    page.goto(f"{site}/sweep?sweep=sizes&view=History")
    # By its name: for a moment the figures of the page that was left stand there, too.
    figure = page.get_by_role("img", name="in the order they were made").locator("canvas")
    figure.wait_for()
    settled(page)
    told = page.get_by_text("trial number", exact=False)

    def pointed_at() -> bool:
        box, place = figure.bounding_box(), figure.evaluate(BLUE)
        if place is None:
            return False
        page.mouse.move(0, 0)
        page.mouse.move(box["x"] + place[0], box["y"] + place[1])
        return bool(told.count())

    # The figure is drawn anew until it has found its size.
    until(page, pointed_at)
    trial = re.search("[0-9a-f]{8}", told.inner_text())
    assert trial is not None
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(rf"/trial\?.*sweep=sizes.*{trial[0]}"))
    page.get_by_text("Quality on the selection split").wait_for()
    page.go_back()
    figure.wait_for()
    settled(page)
    assert "/sweep?" in page.url, "what was chosen does not lead there again"


def test_text_from_data_is_shown_and_never_run(page: Any, site: str) -> None:
    from urllib.parse import quote

    for address, shown in (
        ("", "Sweeps running"),
        (f"sweep?sweep={quote(HOSTILE)}", "1 of 1 trials"),
        (f"trial?sweep={quote(HOSTILE)}&show=Log", "Traceback"),
        (f"trial?sweep={quote(HOSTILE)}&show=Configuration", "All settings"),
        ("trial?sweep=mate&show=Tricks", "made up"),
    ):
        page.goto(f"{site}/{address}")
        page.get_by_text(shown).first.wait_for()
        settled(page)
        assert page.title() != "1"
        assert page.locator('img[src="x"]').count() == 0
        assert page.locator('a[href="http://127.0.0.1/x"]').count() == 0
    page.get_by_text('<img src=x onerror="document.title=1">').first.wait_for()
    page.locator("mark", has_text="tedious").wait_for()


def test_a_running_sweep_moves_and_what_was_typed_stays(page: Any, site: str, home: Path) -> None:
    page.goto(f"{site}/sweep?sweep=mate")
    box = page.get_by_role("textbox", name="Filter")
    box.fill("layers >= 1")
    box.press("Enter")
    running = page.locator("dl > div").filter(has_text="Running")
    running.get_by_text("2", exact=True).wait_for()
    settled(page)
    page.evaluate(REMEMBER)
    url = f"sqlite:///{home / 'limbeck.db'}"
    with open_store(url) as store, open_reader(url) as reader:
        trial = reader.trials("mate", states=["running"], brief=True)[0].trial
        store.finish_trial("mate", trial, "failed", Outcome(error="stopped by a test"))
    running.get_by_text("1", exact=True).wait_for(timeout=20_000)
    assert box.input_value() == "layers >= 1"
    assert page.evaluate("window.kept.every(node => document.contains(node))"), "nothing was drawn anew: no flicker"


def test_a_student_is_downloaded_and_loads(page: Any, site: str, home: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    trial = best(home)
    folder = home / "mate" / trial.trial / "student"
    write_student(folder, seed=3)
    page.goto(f"{site}/export?sweep=mate&trial={trial.trial}")
    page.get_by_test_id("stDownloadButton").wait_for()
    settled(page)
    with page.expect_download() as waiting:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    with zipfile.ZipFile(io.BytesIO(Path(waiting.value.path()).read_bytes())) as archive:
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert waiting.value.suggested_filename == f"{unpacked.name}.zip"
    assert trial.trial in (unpacked / "README.md").read_text()
    batch = AutoTokenizer.from_pretrained(unpacked)(["a good film"], return_tensors="pt")
    with torch.no_grad():
        answers = [
            AutoModelForSequenceClassification.from_pretrained(place)(**batch).logits for place in (unpacked, folder)
        ]
    assert torch.equal(*answers)


def test_a_trained_student_is_downloaded_as_onnx_and_answers_alike(
    page: Any, site: str, home: Path, tmp_path: Path
) -> None:
    import numpy as np
    import onnxruntime
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    student = add_trained(home, tmp_path / "world").student
    page.goto(f"{site}/export?sweep={SWEEP}&trial={TRIAL}&format=onnx")
    page.get_by_role("button", name="Prepare ONNX").click()
    page.get_by_test_id("stDownloadButton").wait_for(timeout=180_000)
    page.get_by_text("logits within").wait_for()  # The command has proven it; its words are drawn after the button.
    with page.expect_download() as waiting:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    with zipfile.ZipFile(Path(waiting.value.path())) as archive:
        archive.extractall(tmp_path / "unzipped")
    (folder,) = (tmp_path / "unzipped").iterdir()
    texts = ["the film was superb", "a dull story and a boring plot , very bad", "music"]
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    graph = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    taken = {given.name: batch[given.name].numpy().astype(np.int64) for given in graph.get_inputs()}
    with torch.no_grad():
        expected = AutoModelForSequenceClassification.from_pretrained(student).eval()(**batch).logits.numpy()
    assert np.ptp(expected) > 1, "it has learnt something to get wrong"
    np.testing.assert_allclose(graph.run(None, taken)[0], expected, atol=1e-4)


PAGES = {
    "": "Sweeps running",
    "sweep?sweep=mate": "Select rows",
    "sweep?sweep=mate&view=History": "Stopped trials show",
    "sweep?sweep=mate&view=Front": "On the line",
    "retention?sweeps=sizes": "Growth with size",
    "ablations?sweep=mate-ablation&split=amazon&reference=adversary": "Every configuration against adversary",
    "trial?sweep=mate&show=Resources": "read once when the trial ended",
    "compare?trials=mate/&trials=sizes/": "Do the results differ?",
    "export?sweep=sizes": "From a terminal",
}


@pytest.mark.parametrize(("address", "words"), PAGES.items(), ids=list(PAGES))
def test_deep_links_open_what_they_name_and_fit(page: Any, site: str, address: str, words: str) -> None:
    """Wide and narrow, light and dark; and no page is sent more than it shows."""
    sent = 0

    def count(payload: str | bytes) -> None:
        nonlocal sent
        sent += len(payload)

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    page.goto(f"{site}/{address}")
    page.get_by_text(words).first.wait_for()
    settled(page)
    assert sent < 5e6
    # The pages run inside the app: its navigation is there, and so is its sign-in.
    page.get_by_role("link", name="Ablations").wait_for(state="attached")
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_text("Stands for the best trial").count() == 0, "words about the code are not shown"
    main, app = page.get_by_test_id("stMain"), page.get_by_test_id("stApp")
    for viewport, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)

        def coloured(scheme: str = scheme) -> bool:
            background = app.evaluate("node => getComputedStyle(node).backgroundColor")
            return (sum(int(part) for part in re.findall(r"\d+", background)[:3]) < 200) == (scheme == "dark")

        until(page, coloured)
        # What was drawn for the wide window takes a moment to become narrow.
        until(page, lambda: main.evaluate("node => node.scrollWidth - node.clientWidth") <= 1, 10)


def test_a_missing_database_opens_by_itself(page: Any, tmp_path: Path) -> None:
    with served(tmp_path) as site:
        page.goto(f"{site}/sweep")
        page.get_by_text("No results yet").wait_for()
        assert list(tmp_path.iterdir()) == []
        build(tmp_path)
        page.get_by_text("Stopped early", exact=True).wait_for()

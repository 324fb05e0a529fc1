"""The export page: a student as it is, and in formats that `limbeck export` has to make first."""

import io
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import exporter
from limbeck.store import open_reader

from .conftest import Open, run, said
from .test_parts import student

WRITES = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(); (p / 'model.onnx').write_bytes(b'0' * 2000); "
WANTED = exporter.Wanted("sqlite:///x.db", "mate", "t0", "onnx")


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have this Python code stand for `limbeck export`; its argument is the folder."""
    monkeypatch.setattr(exporter, "command", lambda wanted, folder: [sys.executable, "-c", code, str(folder)])


@pytest.fixture
def exports() -> Iterator[exporter.Exports]:
    found = exporter.Exports()
    yield found
    found.close()


def wait(state: Callable[[], exporter.Made]) -> exporter.Made:
    until = time.monotonic() + 30
    while (made := state()).state in ("running", "busy") and time.monotonic() < until:
        time.sleep(0.05)
    return made


def test_the_command_is_the_one_people_type() -> None:
    words = list(exporter.command(exporter.Wanted("postgresql://u:secret@h/d", "-odd", "t0", "onnx"), Path("/tmp/x")))
    assert words[1:] == ["-m", "limbeck.cli", "export", "--trial=t0", "--format=onnx", "--to=/tmp/x", "--", "-odd"]


def test_the_formats_are_those_of_the_command_line() -> None:
    from limbeck.cli.export import FORMATS

    assert tuple(exporter.FORMATS) == tuple(FORMATS)


def test_an_export_is_made_once_and_kept(exports: exporter.Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, WRITES + "print('checked')")
    assert exports.state(WANTED).state == "none"
    exports.start(WANTED)
    made = wait(lambda: exports.state(WANTED))
    assert (made.state, made.said) == ("done", "checked")
    assert made.folder is not None
    assert exporter.size(made.folder) == 2000
    with zipfile.ZipFile(io.BytesIO(exporter.zipped(made.folder, "mate-t0"))) as archive:
        assert archive.namelist() == ["mate-t0/model.onnx"]
    exports.close()
    assert not made.folder.exists()


def test_one_export_at_a_time_and_few_are_kept(exports: exporter.Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    other = exporter.Wanted("sqlite:///x.db", "mate", "t1", "onnx")
    stand_in(monkeypatch, "import time; time.sleep(60)")
    exports.start(WANTED)
    exports.start(other)
    assert (exports.state(WANTED).state, exports.state(other).state) == ("running", "busy")
    exports.close()
    exports = exporter.Exports()
    stand_in(monkeypatch, WRITES)
    every = [exporter.Wanted("", "mate", f"t{i}", "onnx") for i in range(exporter.KEPT_MOST + 2)]
    for one in every:
        exports.start(one)
        folder = wait(lambda one=one: exports.state(one)).folder  # type: ignore[misc]
    assert [exports.state(one).state for one in every] == ["none"] * 2 + ["done"] * exporter.KEPT_MOST
    assert folder is not None and len(list(folder.parents[1].iterdir())) == exporter.KEPT_MOST
    exports.close()


def test_the_page_prepares_a_graph_and_shows_what_went_wrong(
    at_demo: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        trial = reader.trials("sizes", states=["complete"], brief=True)[0].trial
    student(at_demo / "sizes" / trial / "student")
    stand_in(monkeypatch, "import sys; sys.exit('the disk is full')")
    app = open_page("export", sweep="sizes", trial=trial, format="onnx-int8")
    assert f"limbeck export sizes --trial {trial} --format onnx-int8" in said(app)
    app = pressed(app)
    assert "the disk is full" in said(app)
    stand_in(monkeypatch, WRITES)
    app = pressed(app)
    assert [button.label for button in app.get("download_button")] == ["ONNX, int8 (2.0 kB)"]


def pressed(app: AppTest) -> AppTest:
    """Press the button and wait for the export's end."""
    next(button for button in app.button if button.label.startswith("Prepare")).click()
    run(app)
    until = time.monotonic() + 30
    while any("new process" in str(info.value) for info in app.info) and time.monotonic() < until:
        time.sleep(0.1)
        run(app)
    return app

"""The gallery's picture: made from a results database, and true to its numbers."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from stored_results import Results, logits

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "gallery" / "front.py"
PLAN = "name: parts\nbase: {task: movies, method: kd}\nvary:\n  student.layers: {choice: [1, 2]}\n"
PRICE = "latency_ms/onnx/batch1/p50"
SVG = "{http://www.w3.org/2000/svg}"


def test_every_complete_trial_is_a_point_and_the_best_are_told(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep(plan=PLAN, kind="search")
    for layers, width, milliseconds, kept in ((1, 8, 1.0, 0.9), (2, 8, 2.0, 0.99), (2, 4, 3.0, 0.95)):
        values = {"student.layers": layers, "student": {"intermediate": width}}
        metrics = {"test/retention": kept, PRICE: milliseconds, "threads": 1.0}
        results.trial(f"{layers}-{width}", 0, logits(30), values=values, metrics=metrics)
    results.trial("gone", 0, None, state="failed", values={"student.layers": 1})
    command = [sys.executable, str(SCRIPT), "parts", "--home", str(tmp_path), "--to", str(tmp_path / "front.svg")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ('{"1 layer, intermediate 8": [1.0, 0.9], "2 layers, intermediate 8": [2.0, 0.99]}')
    root = ElementTree.parse(tmp_path / "front.svg").getroot()
    assert len(root.findall(f"{SVG}circle")) == 3
    words = [one.text for one in root.findall(f"{SVG}text")]
    assert "2 layers, intermediate 4" in words
    assert "movies, sweep parts, 3 trials, 1 thread" in words
    places = [(float(one.get("cx", 0)), float(one.get("cy", 0))) for one in root.findall(f"{SVG}circle")]
    assert places == sorted(places), "slower to the right"
    assert places[1][1] < places[2][1] < places[0][1], "more kept above"

    wrong = subprocess.run([*command, "--price", "latency_ms"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "no complete trial has both test/retention and latency_ms" in wrong.stderr

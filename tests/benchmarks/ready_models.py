"""Models for the benchmarks of answering: a teacher and students of its first layers in every form of an export.

Weights say nothing that speed depends on, so heads are fresh; give a benchmark real folders to see real numbers.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from setting import default_cache

from limbeck.archives import model_folder
from limbeck.export.facts import Facts
from limbeck.export.formats import FORMATS, write_model
from limbeck.models import StudentConfig, load_base, load_tokenizer, new_student, save_classifier
from limbeck.tasks import TaskConfig, load_task

CLASSES = ("negative", "positive")
MAX_TOKENS = 128


def review_texts() -> list[str]:
    """The film reviews of the built-in task's test split."""
    return list(load_task(TaskConfig.model_validate("movies"), default_cache()).test.columns[0])


def write_teacher(folder: Path) -> Path:
    """The built-in base with a fresh head, 6 layers of 384, as a Hugging Face folder."""
    base = model_folder("minilm-l6", default_cache())
    save_classifier(load_base(base, CLASSES, 0), load_tokenizer(base), folder, CLASSES)
    return folder


def write_student(folder: Path, layers: int) -> Path:
    """A student of the built-in base."""
    base = model_folder("minilm-l6", default_cache())
    student = new_student(StudentConfig(layers=layers), load_base(base, CLASSES, 0), 0)
    save_classifier(student, load_tokenizer(base), folder, CLASSES)
    return folder


def write_form(form: str, student: Path, folder: Path) -> Path:
    """The student in one form, without the proof that an export brings."""
    folder.mkdir(parents=True)
    spec = {"training": {"max_tokens": MAX_TOKENS}}
    now = datetime.now(UTC)
    facts = Facts("bench", "bench", "", spec, "movies", CLASSES, "accuracy", {}, None, 1, (), "", now, "", 1)
    write_model(FORMATS[form], student, folder, facts)
    config = json.loads((folder / "config.json").read_text())
    assert list(config["id2label"].values()) == list(CLASSES)
    return folder

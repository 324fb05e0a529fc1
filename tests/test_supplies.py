"""What trials share: made once, found again by content, and refused where it does not fit together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

import worlds
from limbeck import supplies as module
from limbeck.errors import UserError
from limbeck.models import save_classifier
from limbeck.supplies import Supplies, base_key, refuse_chance, weights_key
from limbeck.tasks import Examples, Task


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("world")
    base = worlds.base_trial(folder)
    base["teacher"]["epochs"] = 6
    return base, folder


def small_model(folder: Path, words: list[str], layers: int = 1, positions: int = 64) -> str:
    """A ready smaller encoder with a vocabulary of `words`."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": positions}
    BertModel(BertConfig(vocab_size=len(words), num_hidden_layers=layers, **sizes)).save_pretrained(folder)
    return str(folder)


def test_the_default_base_by_name_and_by_default_is_one_teacher(
    world: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, folder = world
    stand_in = base["teacher"]["base"]
    monkeypatch.setattr(module, "model_folder", lambda name, cache: Path(stand_in))
    settings = {key: value for key, value in base["teacher"].items() if key != "base"}
    found = worlds.supplies(folder)
    named = found.prepared(worlds.spec(base, teacher={**settings, "base": "minilm-l6"}))
    default = found.prepared(worlds.spec(base, teacher=settings))
    assert default.teacher_key == named.teacher_key
    assert found.cache.misses["teachers"] == 1


def test_a_ready_student_must_share_the_teachers_vocabulary(world: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    base, folder = world
    found = worlds.supplies(folder)
    good = worlds.spec(base, student={"checkpoint": small_model(tmp_path / "good", worlds.TOKENS)})
    student = found.new_student(good, found.prepared(good), 0)
    assert (student.layers, student.width) == (1, 16)
    assert next(student.parameters()).device == torch.device("cpu")
    bad = worlds.spec(base, student={"checkpoint": small_model(tmp_path / "bad", [*worlds.TOKENS[:9], "other"])})
    with pytest.raises(UserError) as caught:
        found.new_student(bad, found.prepared(bad), 0)
    assert f"{len(worlds.TOKENS)}" in str(caught.value) and "10" in str(caught.value)


def test_held_out_rows_that_a_source_or_the_teachers_task_teaches_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = worlds.base_trial(tmp_path)
    base["teacher"]["epochs"] = 3
    other = worlds.write_task(tmp_path / "other", 300)
    test, train = (tmp_path / path for path in ("task/test.csv", "other/train.csv"))
    lines = test.read_text().splitlines()[1:]
    train.write_text("\n".join([*train.read_text().splitlines(), *lines[:7]]))
    found = worlds.supplies(tmp_path)
    spec = worlds.spec(base, sources=[other], teacher={**base["teacher"], "task": other})
    found.prepare(spec)
    found.prepare(spec)
    told = [line for line in caplog.messages if "100 test rows" in line]
    assert told == ["train: 7 of 100 test rows stand in the training rows of train (base.teacher.task) too"]


def test_a_hubs_student_is_looked_into_before_anything_is_fitted(
    world: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _ = world
    words = small_model(tmp_path / "student", worlds.TOKENS)
    monkeypatch.setattr("limbeck.models.loading._download", lambda name: Path(words))
    found = worlds.supplies(tmp_path)
    method = {"name": "codir", "student_layers": [2]}
    with pytest.raises(UserError, match=r"base\.method\.student_layers"):
        found.prepared(worlds.spec(base, method, student={"checkpoint": "some/one"}))
    assert "teachers" not in found.cache.misses


def test_no_generator_is_fitted_for_a_method_that_asks_for_none(world: tuple[dict[str, Any], Path]) -> None:
    base, folder = world
    found = worlds.supplies(folder)
    method = {"name": "l2a", "source_share": 0, "generator": worlds.SMALL_GENERATOR}
    found.prepare(worlds.spec(base, {**method, "sweeps": 0}))
    assert "generators" not in found.cache.misses
    found.prepare(worlds.spec(base, method))
    assert found.cache.misses["generators"] == 1


def test_a_generator_must_read_as_much_as_it_is_given(world: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    base, folder = world
    found = worlds.supplies(folder)
    short = small_model(tmp_path / "short", worlds.TOKENS, positions=24)

    def prepare(**settings: int) -> None:
        generator = {**worlds.SMALL_GENERATOR, "fit_updates": 1, "base": short, **settings}
        found.prepare(worlds.spec(base, {"name": "mate", "generator": generator}))

    with pytest.raises(UserError, match=r"generator\.base: it reads at most 24 tokens, but fit_max_tokens is 32"):
        prepare()
    with pytest.raises(UserError, match=r"at most 24 tokens, but training\.max_tokens is 32"):
        prepare(fit_max_tokens=24)


def test_what_does_not_fit_is_refused_before_any_training(world: tuple[dict[str, Any], Path]) -> None:
    base, folder = world
    with pytest.raises(UserError, match=r"base\.method\.source_share"):
        worlds.supplies(folder).prepared(worlds.spec(base, {"name": "l2a"}))
    with pytest.raises(UserError, match=r"base\.training\.max_tokens: 100, but the teacher reads at most 64"):
        worlds.supplies(folder).prepared(worlds.spec(base, training={"max_tokens": 100}))


def test_a_ready_teachers_outputs_are_made_anew_when_its_label_order_is_put_right(
    world: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    base, folder = world
    found = worlds.supplies(folder)
    fitted = found.prepared(worlds.spec(base))
    good, bad = ("good", "bad"), ("bad", "good")
    assert fitted.task.classes == bad
    save_classifier(fitted.teacher, fitted.tokenizer, tmp_path, bad)
    ready = worlds.spec(base, teacher={"checkpoint": str(tmp_path)})
    turned = dict(enumerate(good))
    names = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**names, "id2label": turned}))
    with pytest.raises(UserError, match="no better than chance"):
        found.prepared(ready)
    (tmp_path / "config.json").write_text(json.dumps(names))
    assert found.prepared(ready).teacher_metric("selection") == fitted.teacher_metric("selection")


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_name_for_weights_tells_their_order_apart(kind: torch.dtype) -> None:
    model = torch.nn.BatchNorm1d(3).to(kind)
    with torch.no_grad():
        model.weight.copy_(torch.arange(3))
    before = weights_key(model)
    assert weights_key(model) == before
    with torch.no_grad():
        model.weight.copy_(model.weight.flip(0))
    assert weights_key(model) != before


def test_a_base_that_was_trained_further_in_place_is_another_base(tmp_path: Path) -> None:
    base = worlds.base_trial(tmp_path)
    base["teacher"]["epochs"] = 3
    folder = Path(base["teacher"]["base"])
    before = base_key(str(folder), str(folder))
    (folder / "README.md").write_text("what people read changes nothing")
    assert base_key(str(folder), str(folder)) == before
    spec = worlds.spec(base, {"name": "mate", "generator": worlds.SMALL_GENERATOR})
    worlds.supplies(tmp_path).prepare(spec)
    model = BertModel.from_pretrained(folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(1.01)
    model.save_pretrained(folder)
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == sizes
    again = worlds.supplies(tmp_path)
    again.prepare(spec)
    assert (again.cache.misses["teachers"], again.cache.misses["generators"]) == (1, 1)


def test_what_was_fitted_on_a_built_in_base_keeps_its_name(tmp_path: Path) -> None:
    for name, text in {"vocab.txt": "four", "config.json": "{}", "seal.json": "{..}"}.items():
        (tmp_path / name).write_text(text)
    expected = '[["config.json", 2], ["seal.json", 4], ["vocab.txt", 4]]'
    assert base_key("minilm-l6", str(tmp_path)) == expected
    assert base_key("someone/something", "someone/something") == "someone/something"


def judged(labels: list[int], said: list[int], classes: int = 2) -> None:
    """Have a teacher judged that says these classes of rows with those labels."""
    split = Examples((["a text"] * len(labels),), np.array(labels))
    task = Task("t", tuple(f"c{i}" for i in range(classes)), "accuracy", split, split, split)
    refuse_chance(task, np.eye(classes, dtype=np.float32)[said])


@pytest.mark.parametrize(
    ("labels", "said", "classes"),
    [
        # Nine of ten rows are of one class; precision and recall on the other are 0.6: no better than saying the one.
        ([0] * 180 + [1] * 20, [0] * 172 + [1] * 8 + [0] * 8 + [1] * 12, 2),
        # Nine rows, one of them wrong; four rows, all right.
        ([0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1, 0], 2),
        ([0, 0, 1, 1], [0, 0, 1, 1], 2),
        # A fifth right where there are twenty classes.
        (list(range(20)) * 10, [(k if k % 5 == 0 else (k + 3) % 20) for k in range(20)] * 10, 20),
    ],
)
def test_a_teacher_that_knows_something_passes(labels: list[int], said: list[int], classes: int) -> None:
    judged(labels, said, classes)


@pytest.mark.parametrize(
    ("labels", "said", "classes"),
    [
        # Whoever always says the commonest class knows nothing, however common it is.
        ([0] * 995 + [1] * 5, [0] * 1000, 2),
        ([0] * 90 + [1] * 10, [1] * 90 + [0] * 10, 2),
        ([0, 1, 2] * 40, [1, 2, 0] * 40, 3),
        ([0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0, 0], 2),
    ],
)
def test_a_teacher_that_knows_nothing_is_refused(labels: list[int], said: list[int], classes: int) -> None:
    with pytest.raises(UserError, match="no better than chance"):
        judged(labels, said, classes)


def test_a_teacher_at_chance_labels_the_selection_split_alone(
    world: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    base, _ = world
    found = worlds.supplies(tmp_path)
    untaught = {**base["teacher"], "epochs": 0.01, "learning_rate": 1e-9}
    with pytest.raises(UserError, match=r"right on \d+ of the 100 rows.*its answers in any order would be on"):
        found.prepared(worlds.spec(base, teacher=untaught))
    assert found.cache.misses["teacher-outputs"] == 1


def test_a_corrupted_teacher_is_fitted_again(world: tuple[dict[str, Any], Path]) -> None:
    base, folder = world
    first: Supplies = worlds.supplies(folder)
    before = first.prepared(worlds.spec(base)).teacher_key
    (victim,) = [path for path in (folder / "cache/teachers").iterdir() if path.name == before]
    weights = victim / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    again = worlds.supplies(folder)
    prepared = again.prepared(worlds.spec(base))
    assert again.cache.misses["teachers"] == 1
    assert prepared.teacher_metric("selection") > 0.6

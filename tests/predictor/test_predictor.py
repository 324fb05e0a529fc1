"""A folder at work: order kept, padding without effect, memory bounded, wrong folders told."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from limbeck.errors import Problem, UserError
from limbeck.predictor import Predictor, answered
from limbeck.predictor.tokens import by_length
from small_students import TEXTS, write_student


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("trial") / "student")


def test_long_texts_are_cut_as_in_training(student: Path) -> None:
    model = Predictor(student, 8)
    np.testing.assert_allclose(model.logits([["good " * 100]]), model.logits([["good " * 6]]), atol=1e-6)


def test_batches_hold_rows_of_similar_length_and_every_row_once() -> None:
    lengths = np.array([3, 9, 1, 9, 4])
    assert [batch.tolist() for batch in by_length(lengths, 2)] == [[1, 3], [4, 0], [2]]


def test_what_shares_a_batch_changes_nothing_and_the_order_is_kept(student: Path) -> None:
    model = Predictor(student, 8)
    texts = TEXTS * 5
    alone = np.concatenate([model.logits([[text]]) for text in texts])
    np.testing.assert_allclose(model.logits([texts], batch_size=7), alone, atol=1e-5)
    assert model.logits([[]]).shape == (0, 2)


def test_a_stream_is_answered_in_order_a_window_at_a_time(student: Path) -> None:
    read = 0

    def rows() -> Iterator[tuple[str, ...]]:
        nonlocal read
        for text in TEXTS * 3:
            read += 1
            yield (text,)

    model = Predictor(student, 8)
    stream = answered(model, rows(), batch_size=2, window=5)
    first, logits = next(stream)
    assert read == 5
    assert first == [(text,) for text in TEXTS[:5]]
    np.testing.assert_allclose(logits, model.logits([TEXTS[:5]]), atol=1e-5)
    assert sum(len(some) for some, _ in stream) == 3 * len(TEXTS) - 5


def test_rows_before_one_that_cannot_be_read_are_answered(student: Path) -> None:
    def rows() -> Iterator[tuple[str, ...]]:
        yield from ((text,) for text in TEXTS[:4])
        raise UserError(Problem("line 5", "no text"))

    for window, wanted in ((3, [3, 1]), (4, [4])):
        found = []
        with pytest.raises(UserError, match="line 5"):
            for some, logits in answered(Predictor(student, 8), rows(), batch_size=2, window=window):
                assert len(some) == len(logits)
                found.append(len(some))
        assert found == wanted


def test_probabilities_are_the_networks_own_without_a_calibration(student: Path) -> None:
    model = Predictor(student, 8)
    logits = model.logits([TEXTS])
    scaled = np.exp(logits)
    np.testing.assert_allclose(model.probabilities(logits), scaled / scaled.sum(1, keepdims=True), atol=1e-6)


def test_folders_that_hold_no_model(tmp_path: Path, student: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        Predictor(tmp_path)
    broken = tmp_path / "broken"
    write_student(broken)
    (broken / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be loaded"):
        Predictor(broken)
    graph = tmp_path / "graph"
    graph.mkdir()
    (graph / "config.json").write_text("{}")
    (graph / "model.onnx").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be loaded"):
        Predictor(graph)
    odd = tmp_path / "odd"
    write_student(odd)
    (odd / "calibration.json").write_text(json.dumps({"temperature": -1}))
    with pytest.raises(UserError, match="calibration cannot be read"):
        Predictor(odd)

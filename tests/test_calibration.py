"""Temperature scaling: finds the temperature that logits were spoilt with, leaves answers alone, survives the disk."""

from pathlib import Path

import numpy as np
import pytest

from limbeck.calibration import UNCALIBRATED, Calibration, calibrated_ece, fit_temperature, read_calibration


def honest(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth, and labels drawn from it."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (rows, classes))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([draw.choice(classes, p=row) for row in chances])
    return logits, labels


@pytest.mark.parametrize("spoilt_by", [0.4, 1.0, 3.0])
def test_it_finds_the_temperature_that_logits_were_spoilt_with(spoilt_by: float) -> None:
    logits, labels = honest(5000, 3)
    assert fit_temperature(logits * spoilt_by, labels) == pytest.approx(spoilt_by, rel=0.08)


def test_calibration_error_falls_and_no_answer_changes() -> None:
    logits, labels = honest(5000, 4, seed=1)
    sure = logits * 3
    temperature = fit_temperature(sure, labels)
    assert calibrated_ece(sure, labels, temperature) < 0.03 < 0.1 < calibrated_ece(sure, labels, 1.0)
    assert (np.argmax(sure / temperature, 1) == sure.argmax(1)).all()


def test_two_classes_by_hand() -> None:
    # All margins are 2 and three of four are right: 1/(1 + exp(-2/T)) = 3/4, so T = 2/ln 3.
    logits = np.array([[2.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3), rel=1e-3)


def test_a_split_without_an_error_gives_a_number_all_the_same() -> None:
    temperature = fit_temperature(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, 1]))
    assert 0 < temperature < 1


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    Calibration(1.75, 851).write(tmp_path)
    assert read_calibration(tmp_path) == Calibration(1.75, 851, "selection")
    assert read_calibration(tmp_path / "elsewhere") == UNCALIBRATED


@pytest.mark.parametrize("text", ['{"temperature": 0}', '{"temperature": "hot"}', "[]", "{", '{"temperature": NaN}'])
def test_a_file_that_is_no_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match=r"temperature|Expecting"):
        read_calibration(tmp_path)

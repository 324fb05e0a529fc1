"""Temperature scaling: one number that makes a classifier's probabilities as sure as it is right."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.metrics import ece, log_probabilities

CALIBRATION = "calibration.json"
_COLDEST, _HOTTEST = 0.05, 20.0
"""Beyond them logits say nothing any more, or everything."""


@dataclass(frozen=True)
class Calibration:
    """By what a model's logits are divided before the softmax, and where that came from."""

    temperature: float
    rows: int
    """Rows it was fitted on."""
    split: str = "selection"

    def write(self, folder: Path) -> None:
        """Leave `calibration.json` in a model's folder."""
        (folder / CALIBRATION).write_text(json.dumps(asdict(self), indent=1) + "\n")


UNCALIBRATED = Calibration(1.0, 0, "")


def read_calibration(folder: Path) -> Calibration:
    """Return what lies in a model's folder; the network's own probabilities where nothing lies there.

    ValueError: the file is there and is no calibration.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return UNCALIBRATED
    raw = json.loads(path.read_text())
    temperature = raw.get("temperature") if isinstance(raw, Mapping) else None
    if not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise ValueError(f"{path}: temperature must be a number above 0, got {temperature!r}")
    return Calibration(float(temperature), int(raw.get("rows", 0)), str(raw.get("split", "")))


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the T > 0 that minimises the mean of −log softmax(logits / T)[label] over (N, C) logits, C >= 2.

    The order of the classes stays as it is, so no answer changes. Source: Guo et al., On Calibration of Modern Neural
    Networks, arXiv 1706.04599, section 4.2.
    """
    # Only exporting fits anything: predicting starts sooner without it.
    from scipy.optimize import minimize_scalar

    gold, values = np.asarray(labels, np.int64), np.asarray(logits, np.float64)
    rows = np.arange(len(gold))

    def loss(log_temperature: float) -> float:
        return float(-log_probabilities(values / np.exp(log_temperature))[rows, gold].mean())

    # The loss is convex in 1/T, so it has one valley in log T as well; where every answer is right it falls for ever.
    found = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def calibrated_ece(logits: NDArray[Any], labels: NDArray[Any], temperature: float) -> float:
    """Return the expected calibration error of softmax(logits / T)."""
    return ece(np.asarray(logits, np.float64) / temperature, labels)

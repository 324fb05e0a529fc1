"""Looking at a student: how well it does on a split, and what its method invents."""

from typing import Any

import numpy as np
import torch

from limbeck.diagnosis import diagnose, pairs
from limbeck.encoding import Reader
from limbeck.evaluate import logits_over
from limbeck.methods.base import Method
from limbeck.metrics import agreement, ece, retention
from limbeck.models import HubClassifier
from limbeck.noise import RowNoise
from limbeck.optimise import autocast
from limbeck.supplies import SELECTION, Prepared

DIAGNOSED_ROWS = 64


class Examiner:
    """Evaluates one trial's student against its task and teacher."""

    def __init__(self, prepared: Prepared, student: HubClassifier, device: torch.device) -> None:
        self._prepared, self._student, self._device = prepared, student, device

    def logits(self, split: str) -> np.ndarray:
        """(N, C) float32 logits of the student on a split."""
        prepared = self._prepared
        return logits_over(self._student, prepared.splits[split], prepared.vocabulary, prepared.precision, self._device)

    def scores(self, split: str, logits: np.ndarray | None = None) -> dict[str, float]:
        """Metric, retention, agreement with the teacher and calibration of the student on a split."""
        prepared, labels = self._prepared, np.asarray(self._prepared.splits[split].labels)
        logits = self.logits(split) if logits is None else logits
        name, teacher = prepared.task.metric, prepared.teacher_logits[split]
        value = prepared.metric(split, logits)
        out = {f"{split}/{name}": value}
        kept = retention(value, prepared.teacher_metric(split))
        if kept is not None:
            out[f"{split}/retention"] = kept
        if prepared.task.classes:
            out[f"{split}/agreement"], out[f"{split}/kl"] = agreement(logits, teacher)
            out[f"{split}/ece"] = ece(prepared.task.splits[split].scored(logits), labels)
        return out

    def diagnosis(self, method: Method, seed: int, logits: np.ndarray) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Look at what the method invents from the first selection rows; `logits` are the student's on that split."""
        prepared = self._prepared
        split = prepared.splits[SELECTION]
        rows = range(min(DIAGNOSED_ROWS, len(split)))
        batch = Reader(split, prepared.teacher_logits[SELECTION], prepared.vocabulary, self._device).read(rows)
        noise = RowNoise(seed, 0, range(len(rows)))
        self._student.eval()
        with torch.no_grad(), autocast(prepared.precision, self._device):
            invented = method.invent(batch, noise)
        if invented is None:
            return {}, []
        said = logits[rows.start : rows.stop]
        return diagnose(batch, said, invented), pairs(batch, said, invented, prepared.tokenizer)

"""Results written by hand: students whose answers, and therefore whose metrics, are known."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.store import NewSweep, NewTrial, Outcome, Reader, Store, TrialState, open_reader, open_store

ROWS = 40
LABELS = np.arange(ROWS) % 2
PLAN = """
name: parts
base:
  task: movies
  method: mate
  training: {updates: 100}
ablate:
  design: leave-one-out
  factors:
    adversary: {method.generator.frozen: true}
    divergence: {method.divergence: mse}
seeds: [0, 1, 2]
"""


def logits(right: int, rows: int = ROWS, skip: int = 0) -> np.ndarray:
    """(rows, 2) logits that are right on all but `rows − right` examples, those after the first `skip`."""
    labels = np.arange(rows) % 2
    said = labels.copy()
    said[skip : skip + rows - right] = 1 - said[skip : skip + rows - right]
    return np.stack([np.where(said == 0, 2.0, -1.0), np.where(said == 1, 2.0, -1.0)], axis=1)


class Results:
    """A database that tests fill and read."""

    def __init__(self, folder: Path, clock: Callable[[], float] | None = None) -> None:
        self.url = f"sqlite:///{folder / 'limbeck.db'}"
        self._time = 1_000.0
        self.store: Store = open_store(self.url, clock=clock or self._tick)

    def _tick(self) -> float:
        self._time += 1.0
        return self._time

    def reader(self) -> Reader:
        return open_reader(self.url)

    def sweep(self, name: str = "parts", plan: str = PLAN, kind: str = "ablation", task: str = "movies") -> None:
        """Add a sweep."""
        self.store.add_sweep(NewSweep(name, plan, kind, task, {"retention": "max"}))

    def trial(
        self,
        cell: str,
        seed: int,
        student: np.ndarray | None,
        *,
        sweep: str = "parts",
        teacher: np.ndarray | None = None,
        updates: tuple[int, int] = (100, 100),
        state: TrialState = "complete",
        **more: Any,
    ) -> str:
        """Add a trial that ended: its test logits against LABELS and a teacher that is right on 36 of 40.

        `more`: spec, values, metrics, seconds, parameters, error, task (a fingerprint), labels, metric, keep.
        """
        trial = f"{cell}-{seed}".replace(" ", "_").replace("+", "_").replace("@", "_")
        number = len(self.reader().trials(sweep))
        spec, values = more.get("spec", {}), more.get("values", {})
        self.store.add_trials(sweep, [NewTrial(trial, number, cell, seed, values, spec)])
        self.store.start_trial(sweep, trial)
        self.store.record_progress(sweep, trial, *updates, more.get("seconds", 10.0), more.get("progress", {}))
        outcome = Outcome(
            metrics=more.get("metrics", {}),
            parameters=more.get("parameters", 1000),
            seconds=more.get("seconds", 10.0),
            error=more.get("error"),
        )
        if student is not None:
            outcome = self._examined(sweep, trial, student, teacher, outcome, more)
        self.store.finish_trial(sweep, trial, state, outcome)
        return trial

    def _examined(
        self,
        sweep: str,
        trial: str,
        student: np.ndarray,
        teacher: np.ndarray | None,
        outcome: Outcome,
        more: Mapping[str, Any],
    ) -> Outcome:
        labels = more.get("labels", np.arange(len(student)) % 2)
        teacher = logits(len(student) - 4, len(student), skip=len(student) - 4) if teacher is None else teacher
        accuracy, upper = ((one.argmax(1) == labels).mean() for one in (student, teacher))
        task, split = more.get("task", "movies-1"), more.get("split", "test")
        if more.get("keep", True):
            self.store.add_predictions(sweep, trial, {split: student}, task=task, teacher=f"teacher-{task}")
            self.store.add_reference(task, f"teacher-{task}", {split: labels}, {split: teacher})
        metrics = {f"{split}/accuracy": accuracy, f"teacher/{split}/accuracy": upper, **outcome.metrics}
        kept = accuracy / upper if upper > 0 else None
        return Outcome(
            metrics=metrics, retention=kept, parameters=outcome.parameters, seconds=outcome.seconds, error=outcome.error
        )


def ablation_of(results: Results, right: Mapping[str, Sequence[int]], **more: Any) -> None:
    """Add a trial for every cell and seed: how many of 40 answers are right."""
    for cell, counts in right.items():
        for seed, count in enumerate(counts):
            results.trial(cell, seed, logits(count, skip=seed), **more)

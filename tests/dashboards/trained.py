"""A student that was really trained, among the results of others."""

import time
from pathlib import Path

import numpy as np

import worlds
from limbeck.store import NewSweep, NewTrial, Outcome, open_store
from limbeck.training import train
from limbeck.worker import Result, Worker

SWEEP, TRIAL = "trained", "70ad0001"


def add_trained(home: Path, world: Path) -> Result:
    """Train a small student as the one trial of a sweep in the database of `home`, older than the sweeps there."""
    spec = worlds.spec(worlds.base_trial(world))
    folder = home / SWEEP / TRIAL
    supplies = worlds.supplies(world)
    result = train(spec, Worker(folder, clock=time.monotonic), supplies)
    task = supplies.task(spec.task).fingerprint
    assert result is not None
    with open_store(f"sqlite:///{home / 'limbeck.db'}", clock=lambda: time.time() - 200_000) as store:
        store.add_sweep(NewSweep(SWEEP, "name: trained\nbase: {}\n", "grid", "files", {"retention": "max"}, 1))
        store.add_trials(SWEEP, [NewTrial(TRIAL, 0, "c0", 0, {}, spec.model_dump(mode="json"), str(folder))])
        store.start_trial(SWEEP, TRIAL)
        outcome = Outcome(result.metrics, result.metrics["test/retention"], result.parameters, result.seconds, 30)
        store.add_reference(task, "teacher", *(_arrays(result, start) for start in ("gold-", "teacher-")))
        store.add_predictions(SWEEP, TRIAL, {"test": _arrays(result, "")["test"]}, task=task, teacher="teacher")
        store.finish_trial(SWEEP, TRIAL, "complete", outcome)
        store.set_sweep_state(SWEEP, "complete")
    return result


def _arrays(result: Result, start: str) -> dict[str, np.ndarray]:
    found = {p.stem: np.load(p) for p in result.predictions.glob(f"{start}*.npy")}
    return {name.removeprefix(start): array for name, array in found.items()}

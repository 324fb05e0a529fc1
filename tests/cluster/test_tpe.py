"""TPE with a memory proposes what Optuna's own does."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from limbeck.cluster.tpe import Memory, Tpe

FEW = 10
"""Trials before the sampler learns."""
Direction = Literal["minimize", "maximize"]
Sampler = Callable[[int], TPESampler]


def objective(values: dict[str, Any]) -> float:
    score = -abs(values["x"]) - abs(np.log10(values["rate"]) + 4) - {"a": 0.0, "b": 1.0, "c": 2.0}[values["kind"]]
    # Rounded, so that some trials tie.
    return round(float(score + values["layers"] + values.get("heat", 0.0)), 1)


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    values: dict[str, Any] = {
        "x": trial.suggest_float("x", -2.0, 2.0),
        "rate": trial.suggest_float("rate", 1e-6, 1e-2, log=True),
        "layers": trial.suggest_int("layers", 1, 6),
        "kind": trial.suggest_categorical("kind", ["a", "b", "c"]),
    }
    if values["kind"] == "b":
        values["heat"] = trial.suggest_float("heat", 0.0, 1.0, step=0.25)
    return values


def proposals(sampler: Sampler, direction: Direction, stopped: float, trials: int) -> list[dict[str, Any]]:
    """Everything a study proposes in which trials end late, fail, and are stopped with the given probability."""
    draw = np.random.default_rng(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction=direction, storage=InMemoryStorage())
        asked, waiting = [], []
        for number in range(trials):
            study.sampler = sampler(number)
            trial = study.ask()
            asked.append(suggested(trial))
            waiting.append((trial, objective(asked[-1])))
            # Three run at once, and the one that ends is any of them.
            if len(waiting) == 3:
                ended, value = waiting.pop(draw.integers(3))
                fate = draw.random()
                if fate < stopped:
                    ended.report(value, 1 + int(draw.integers(3)))
                    study.tell(ended, state=TrialState.PRUNED)
                elif fate > 0.95:
                    study.tell(ended, state=TrialState.FAIL)
                else:
                    study.tell(ended, value)
        return asked


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("stopped", [0.0, 0.4, 0.93])
def test_proposals_are_those_of_optuna(direction: Direction, stopped: float) -> None:
    memory = Memory()
    ours = proposals(lambda seed: Tpe(memory, seed=seed, n_startup_trials=FEW), direction, stopped, 60)
    theirs = proposals(
        lambda seed: TPESampler(seed=seed, n_startup_trials=FEW, constant_liar=True), direction, stopped, 60
    )
    assert ours == theirs

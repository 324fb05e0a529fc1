"""A database as a long search leaves it: 10,000 trials and 1,000,000 metric rows, with the same study for Optuna.

`python tests/benchmarks/make_big_database.py DIR` writes DIR/limbeck.db in about half a minute.
"""

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.store import NewSweep, open_store

SWEEP = "big"
TRIALS = 10_000
EVALUATIONS = 10
CURVES = (
    "retention",
    "selection/retention",
    "selection/accuracy",
    "selection/agreement",
    "selection/kl",
    "loss/student",
    "loss/cross_entropy",
    "loss/distillation",
    "loss/adversarial",
    "invented/flip_rate",
)
"""Metrics of every evaluation: trials x evaluations x these makes the rows."""
PLAN = """name: big
base: {task: movies, teacher: {base: minilm-l6}, student: {layers: 3}, method: {name: mate}}
objective: {retention: max}
vary:
  student.layers: {choice: [1, 2, 3, 4]}
  method.mask_rate: {uniform: [0.1, 0.5]}
  method.generator_steps: {choice: [5, 10, 20]}
  method.student_steps: {choice: [50, 100, 200]}
  method.generator.learning_rate: {loguniform: [1e-07, 1e-05]}
  method.weights.distillation: {uniform: [0.0, 1.0]}
  method.weights.adversarial: {uniform: [0.1, 1.0]}
  method.divergence: {choice: [kl, ce, mse]}
search: {sampler: tpe, trials: 10000, early_stop: asha}
seeds: [0]
"""
SPEC = {
    "task": {"name": "movies"},
    "teacher": {"base": "minilm-l6", "epochs": 2.0, "learning_rate": 8e-05},
    "method": {"name": "mate", "weights": {"cross_entropy": 1 / 3}, "generator": {"layers": 3, "fit_updates": 1500}},
    "training": {"epochs": 3.0, "batch_size": 32, "learning_rate": 5e-05, "max_tokens": 128},
}
_TRIAL = (
    "sweep", "trial", "number", "cell", "seed", "state", "values", "updates", "updates_total", "seconds", "parameters",
    "score", "objective", "retention", "metrics", "error", "folder", "created", "started", "updated", "finished",
    "spec", "traceback", "log",
)  # fmt: skip


def values_of(draw: np.random.Generator) -> dict[str, Any]:
    return {
        "student.layers": int(draw.integers(1, 5)),
        "method.mask_rate": float(draw.uniform(0.1, 0.5)),
        "method.generator_steps": int(draw.choice([5, 10, 20])),
        "method.student_steps": int(draw.choice([50, 100, 200])),
        "method.generator.learning_rate": float(10 ** draw.uniform(-7, -5)),
        "method.weights.distillation": float(draw.uniform(0, 1)),
        "method.weights.adversarial": float(draw.uniform(0.1, 1)),
        "method.divergence": str(draw.choice(["kl", "ce", "mse"])),
    }


def trial_rows(trials: int, draw: np.random.Generator, now: float) -> Iterator[dict[str, Any]]:
    """Yield the trials: three in five complete, most others stopped early, a few failed."""
    for number in range(trials):
        values = values_of(draw)
        reached = 0.84 + 0.03 * values["student.layers"] - 0.5 * (values["method.mask_rate"] - 0.3) ** 2
        reached += float(draw.normal(0, 0.01))
        state = str(draw.choice(["complete", "stopped", "failed"], p=[0.6, 0.38, 0.02]))
        done = state == "complete"
        metrics: dict[str, float] = dict.fromkeys(CURVES, reached)
        parameters = 11_917_826 + 1_774_464 * values["student.layers"]
        if done:
            for split, teacher in (("test", 0.91), ("amazon", 0.87)):
                metrics |= {f"{split}/accuracy": reached * teacher, f"{split}/retention": reached - 0.01}
                metrics |= {f"teacher/{split}/accuracy": teacher, f"{split}/ece": 0.04, f"{split}/kl": 0.2}
            metrics |= {"parameters": parameters, "parameters_non_embedding": 1_774_464.0 * values["student.layers"]}
            metrics |= {"train_seconds": 300.0, "latency_ms": 2.0 + values["student.layers"]}
        began = now - 90_000 + 8 * number
        yield {
            "sweep": SWEEP, "trial": f"{number:012x}", "number": number, "cell": f"c{number:05d}", "seed": 0,
            "state": state, "values": json.dumps(values), "updates": 1000 if done else 300, "updates_total": 1000,
            "seconds": 300.0 if done else 90.0, "parameters": parameters if done else None, "score": reached,
            "objective": json.dumps({"retention": reached}), "retention": reached - 0.01 if done else None,
            "metrics": json.dumps(metrics), "error": "out of memory" if state == "failed" else None,
            "folder": f"runs/big/{number:012x}", "created": began, "started": began, "updated": began + 8,
            "finished": began + 8, "spec": json.dumps({**SPEC, "student": {"layers": values["student.layers"]}}),
            "traceback": None, "log": None,
        }  # fmt: skip


def metric_rows(rows: list[dict[str, Any]], draw: np.random.Generator) -> Iterator[tuple[str, str, str, int, float]]:
    """Yield every metric of every evaluation."""
    shares = 1 - 0.35 * np.exp(-4 * np.arange(1, EVALUATIONS + 1) / EVALUATIONS)
    for row in rows:
        values = row["score"] * shares + draw.normal(0, 0.003, (len(CURVES), EVALUATIONS))
        for name, curve in zip(CURVES, values.tolist(), strict=True):
            for place, value in enumerate(curve, 1):
                yield SWEEP, row["trial"], name, 100 * place, value


def make(folder: Path, trials: int = TRIALS, now: float | None = None) -> str:
    """Write the database and return its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "limbeck.db"
    url = f"sqlite:///{file}"
    now = time.time() if now is None else now
    with open_store(url, clock=lambda: now) as store:
        store.add_sweep(NewSweep(SWEEP, PLAN, "search", "movies", {"retention": "max"}, trials))
        store.set_sweep_state(SWEEP, "complete")
    draw = np.random.default_rng(0)
    rows = list(trial_rows(trials, draw, now))
    connection = sqlite3.connect(file)
    with connection:
        names = ", ".join(f'"{name}"' for name in _TRIAL)
        places = ", ".join(f":{name}" for name in _TRIAL)
        connection.executemany(f"INSERT INTO limbeck_trials ({names}) VALUES ({places})", rows)
        insert = "INSERT INTO limbeck_metrics (sweep, trial, name, updates, value) VALUES (?, ?, ?, ?, ?)"
        connection.executemany(insert, metric_rows(rows, draw))
    connection.execute("ANALYZE")
    connection.close()
    return url


def add_study(url: str) -> None:
    """Write the same trials as a study of Optuna into the same database, past its slow way trial by trial."""
    import optuna
    from optuna.distributions import distribution_to_json as to_json

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(study_name=SWEEP, storage=storage, direction="maximize")
    study_id = storage.get_study_id_from_name(study.study_name)
    spaces: dict[str, Any] = {
        "student.layers": optuna.distributions.CategoricalDistribution((1, 2, 3, 4)),
        "method.mask_rate": optuna.distributions.FloatDistribution(0.1, 0.5),
        "method.generator_steps": optuna.distributions.CategoricalDistribution((5, 10, 20)),
        "method.student_steps": optuna.distributions.CategoricalDistribution((50, 100, 200)),
        "method.generator.learning_rate": optuna.distributions.FloatDistribution(1e-7, 1e-5, log=True),
        "method.weights.distillation": optuna.distributions.FloatDistribution(0, 1),
        "method.weights.adversarial": optuna.distributions.FloatDistribution(0.1, 1),
        "method.divergence": optuna.distributions.CategoricalDistribution(("kl", "ce", "mse")),
    }
    words = {name: to_json(space) for name, space in spaces.items()}
    storage.remove_session()
    storage.engine.dispose()
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    states = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    with connection:
        asked = 'SELECT number, state, "values", score, started, finished FROM limbeck_trials WHERE sweep = ?'
        found = connection.execute(asked, (SWEEP,))
        for number, state, values, score, started, finished in found.fetchall():
            times = [f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S.%f}" for t in (started, finished)]
            trial = (number + 1, number, study_id, states[state], *times)
            connection.execute(
                "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                trial,
            )
            params = [
                (number + 1, name, spaces[name].to_internal_repr(value), words[name])
                for name, value in json.loads(values).items()
            ]
            connection.executemany(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
                params,
            )
            if state == "complete":
                connection.execute(
                    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')",
                    (number + 1, score),
                )
            steps = range(1, EVALUATIONS + 1)
            connection.executemany(
                "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)"
                " VALUES (?, ?, ?, 'FINITE')",
                [(number + 1, 100 * step, score * (1 - 0.35 * float(np.exp(-0.4 * step)))) for step in steps],
            )
    connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--study", action="store_true", help="write the study for Optuna, too")
    arguments = parser.parse_args()
    address = make(arguments.folder.absolute(), arguments.trials)
    if arguments.study:
        add_study(address)
    print(address)

"""A results database as sweeps leave it, made in a second without training: for tests and for looking at pages.

`python tests/dashboards/demo.py DIR` writes DIR/limbeck.db; `--live` goes on reporting until it is interrupted.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.store import NewSweep, NewTrial, Outcome, Store, open_store
from limbeck.store.rows import class_names

TASK, TEACHER = "movies-fingerprint", "teacher-fingerprint"
CLASSES = {class_names(TASK): ["negative", "positive"]}
ROWS = {"test": 1200, "amazon": 800}
CEILING = {"test": 0.91, "amazon": 0.87}
TOTAL = 600
HOSTILE = '<img src=x onerror="document.title=1"> **bold** $x$ :red[r] [link](http://127.0.0.1/x)'
TRACEBACK = """Traceback (most recent call last):
  File "training.py", line 214, in _evaluate
    raise TrialFailed(f"diverged before update {self.updates}: {names} is not a finite number")
limbeck.training.TrialFailed: diverged before update 180: loss/student is not a finite number
"""
SEARCH = """name: mate
base:
  task: movies
  teacher: {base: minilm-l6}
  student: {layers: 3}
  method: {name: mate, mask_rate: 0.3}
  training: {epochs: 3, batch_size: 32, learning_rate: 5e-05}
objective: {retention: max}
vary:
  student.layers: {choice: [1, 2, 3, 4]}
  method.mask_rate: {uniform: [0.1, 0.5]}
  method.generator.learning_rate: {loguniform: [1e-07, 1e-05]}
  method.divergence: {choice: [kl, ce, mse]}
search: {sampler: tpe, trials: 40, early_stop: asha}
seeds: [0]
"""
ABLATION = """name: mate-ablation
base:
  task: movies
  teacher: {base: minilm-l6}
  student: {layers: 2}
  method: {name: mate, mask_rate: 0.3}
  training: {rows: 1000, updates: 150, learning_rate: 8e-05}
objective: {retention: max}
ablate:
  design: leave-one-out
  factors:
    adversary: {method.generator.frozen: true}
    clean distillation: {method.weights.distillation: 0}
    cross-entropy: {method.weights.cross_entropy: 0}
    kl divergence: {method.divergence: mse}
    masking rate: {method.mask_rate: 0.15}
seeds: [0, 1, 2, 3, 4]
"""
SIZES = """name: sizes
base:
  task: movies
  teacher: {base: minilm-l6}
  student: {layers: 1}
  method: {name: kd}
objective: {retention: max}
vary:
  student.layers: {choice: [1, 2, 3, 4]}
  method.name: {choice: [kd, mate, random_mask]}
search: {sampler: grid}
seeds: [0, 1, 2]
"""
FACTORIAL = """name: factors
base: {task: movies, teacher: {base: minilm-l6}, student: {layers: 2}, method: {name: mate}}
objective: {retention: max}
ablate:
  design: factorial
  factors:
    adversary: {method.generator.frozen: true}
    clean: {method.weights.distillation: 0}
    gold: {method.weights.cross_entropy: 0}
seeds: [0, 1, 2]
"""


@dataclass
class Clock:
    """Time as the store is told it."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Run:
    """What the invented training of one trial is told."""

    sweep: str
    trial: str
    values: Mapping[str, Any]
    seed: int
    quality: float
    seconds: float = 95.0

    @property
    def layers(self) -> int:
        return int(self.values.get("student.layers", 2))

    @property
    def parameters(self) -> int:
        return 11_917_826 + 1_774_464 * self.layers


def spec(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A trial's specification, its shape that of the real one."""
    out: dict[str, Any] = {
        "task": {"name": "movies", "hub": None, "config": None, "files": None},
        "teacher": {"base": "minilm-l6", "checkpoint": None, "epochs": 2.0, "batch_size": 32, "learning_rate": 8e-05},
        "student": {"layers": 3, "hidden": None, "init": "teacher"},
        "method": {
            "name": "mate",
            "mask_rate": 0.3,
            "divergence": "kl",
            "weights": {"cross_entropy": 1 / 3, "distillation": 1 / 3, "adversarial": 1 / 3},
            "generator": {"layers": 3, "learning_rate": 5e-07, "frozen": False},
        },
        "training": {"epochs": 3.0, "rows": None, "batch_size": 32, "learning_rate": 5e-05, "precision": "auto"},
        "seed": seed,
    }
    for path, value in values.items():
        at = out
        *folders, last = path.split(".")
        for name in folders:
            at = at.setdefault(name, {})
        at[last] = value
    return out


def pairs(share: float) -> list[dict[str, Any]]:
    """Two of the generator's tricks; the second holds what must never be taken for markup."""
    hostile = ["[CLS]", "<b>", "a", "fine", "film", HOSTILE, "[SEP]"]
    return [
        {
            "original": ["[CLS]", "a", "gorgeous", ",", "witty", ",", "seduc", "##tive", "movie", ".", "[SEP]"],
            "invented": ["[CLS]", "a", "tedious", ",", "witty", ",", "seduc", "##tive", "mess", ".", "[SEP]"],
            "changed": [2, 8],
            "teacher_before": [0.02, 0.98],
            "student_before": [0.07, 0.93],
            "teacher_after": [0.91, 0.09],
            "student_after": [round(0.35 + 0.3 * share, 4), round(0.65 - 0.3 * share, 4)],
        },
        {
            "original": hostile,
            "invented": [*hostile[:3], "flat", *hostile[4:]],
            "changed": [3, 5],
            "teacher_before": [0.11, 0.89],
            "student_before": [0.2, 0.8],
            "teacher_after": [0.64, 0.36],
            "student_after": [0.52, 0.48],
        },
    ]


def progress(run: Run, share: float, draw: np.random.Generator) -> dict[str, float]:
    """The numbers of one evaluation."""
    reached = run.quality * (1 - 0.35 * math.exp(-4 * share)) + draw.normal(0, 0.003)
    out = {
        "retention": reached,
        "selection/retention": reached,
        "selection/accuracy": reached * CEILING["test"],
        "selection/agreement": min(1.0, reached - 0.02),
        "selection/kl": 0.4 * math.exp(-3 * share) + 0.05,
        "loss/student": 0.9 * math.exp(-3 * share) + 0.2,
        "loss/cross_entropy": 0.4 * math.exp(-3 * share) + 0.1,
        "loss/distillation": 0.3 * math.exp(-3 * share) + 0.05,
        "gradient_norm/student": 2.5 * math.exp(-share),
        "learning_rate_share": 1 - share,
        "epoch": 3 * share,
    }
    if run.values.get("method.name", "mate") == "mate":
        top = 0.05 + 0.25 * share * (run.seed == 0 and run.layers == 1)
        out |= {
            "loss/generator": -0.2 - 0.3 * share,
            "loss/adversarial": 0.35 * math.exp(-2 * share) + 0.08,
            "invented/flip_rate": 0.05 + 0.2 * share,
            "invented/replaced_share": 0.26 - 0.05 * share,
            "invented/distinct_share": 0.6 - 0.25 * share,
            "invented/top_token_share": top,
            "invented/collapsed": float(top > 0.2),
            "invented/divergence_before": 0.1 * math.exp(-share),
            "invented/divergence_after": 0.3 - 0.1 * share,
            "invented/perplexity": 40 + 90 * share,
        }
    return out


class Writer:
    """Tells the store what trials did, the clock moving with them."""

    def __init__(self, store: Store, clock: Clock, seed: int = 0) -> None:
        self.store, self.clock = store, clock
        self.draw = np.random.default_rng(seed)
        self.gold = {split: self.draw.integers(0, 2, n) for split, n in ROWS.items()}
        self.hard = {split: self.draw.uniform(0, 1, n) for split, n in ROWS.items()}
        teacher = {split: self.logits(split, CEILING[split]) for split in ROWS}
        store.add_reference(TASK, TEACHER, self.gold, teacher)

    def logits(self, split: str, accuracy: float) -> np.ndarray:
        """Logits right on the easiest share of the rows, with some luck."""
        n = ROWS[split]
        right = self.hard[split] + self.draw.normal(0, 0.05, n) < accuracy
        said = np.where(right, self.gold[split], 1 - self.gold[split])
        sure = self.draw.uniform(0.3, 3, n)
        return np.stack([np.where(said == 0, sure, -sure), np.where(said == 1, sure, -sure)], axis=1)

    def train(self, run: Run, until: float = 1.0, evaluations: int = 10) -> None:
        """Start a trial and report until that share of its updates is done."""
        self.store.start_trial(run.sweep, run.trial)
        for i in range(1, round(until * evaluations) + 1):
            self.clock.now += run.seconds / evaluations
            share = i / evaluations
            found = progress(run, share, self.draw)
            examples = pairs(share) if "invented/flip_rate" in found else []
            at = (round(share * TOTAL), TOTAL, share * run.seconds)
            self.store.record_progress(run.sweep, run.trial, *at, found, examples)

    def finish(self, run: Run) -> None:
        """End a trial as complete, with its tests and predictions."""
        accuracy = {s: min(0.99, run.quality * CEILING[s] - 0.02 * (s != "test")) for s in ROWS}
        said = {split: self.logits(split, accuracy[split]) for split in ROWS}
        metrics: dict[str, float] = {"parameters": run.parameters, "train_seconds": run.seconds, "best_update": TOTAL}
        metrics |= {"parameters_non_embedding": 1_774_464.0 * run.layers, "teacher/parameters": 22_564_610.0}
        metrics |= {"latency_ms": 2.1 * run.layers + 1}
        for split, logits in said.items():
            value = float((logits.argmax(1) == self.gold[split]).mean())
            metrics |= {f"{split}/accuracy": value, f"{split}/retention": value / CEILING[split]}
            metrics |= {f"teacher/{split}/accuracy": CEILING[split], f"{split}/ece": 0.04, f"{split}/kl": 0.2}
        end = Outcome(
            metrics, metrics["test/retention"], run.parameters, run.seconds, TOTAL, log="epoch 3 of 3\ndone\n"
        )
        self.store.add_predictions(run.sweep, run.trial, said, task=TASK, teacher=TEACHER)
        self.store.finish_trial(run.sweep, run.trial, "complete", end)


def search(writer: Writer, home: Path, trials: int = 40, ended: int = 33) -> None:
    """A search still running: complete, stopped early, failed, running and waiting trials."""
    store, draw = writer.store, writer.draw
    store.add_sweep(NewSweep("mate", SEARCH, "search", "movies", {"retention": "max"}, trials, {"cores": 8, **CLASSES}))
    for number in range(ended + 3):
        values = {
            "student.layers": int(draw.integers(1, 5)),
            "method.mask_rate": float(draw.uniform(0.1, 0.5)),
            "method.generator.learning_rate": float(10 ** draw.uniform(-7, -5)),
            "method.divergence": str(draw.choice(["kl", "ce", "mse"])),
        }
        trial = f"{number:04x}{draw.integers(16**8):08x}"
        folder = str(home / "mate" / trial)
        new = NewTrial(trial, number, f"c{number:03d}", 0, values, spec(values, 0), folder)
        store.add_trials("mate", [new])
        good = 0.86 + 0.03 * values["student.layers"] - 0.4 * (values["method.mask_rate"] - 0.28) ** 2
        run = Run("mate", trial, values, 0, good + draw.normal(0, 0.006), 40 + 30 * values["student.layers"])
        if number >= ended:
            if number < ended + 2:
                writer.train(run, until=0.4)
        elif number % 11 == 7:
            writer.train(run, until=0.3)
            end = Outcome(error="diverged before update 180: loss/student is not a finite number", traceback=TRACEBACK)
            store.finish_trial("mate", trial, "failed", end)
        elif number > 8 and draw.uniform() < 0.45:
            writer.train(run, until=0.4)
            store.finish_trial("mate", trial, "stopped")
        else:
            writer.train(run)
            writer.finish(run)


def cells(name: str) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Cells of a plan known beforehand: name, values, quality."""
    if name == "mate-ablation":
        yield "reference", {}, 0.945
        yield "adversary", {"method.generator.frozen": True}, 0.925
        yield "clean distillation", {"method.weights.distillation": 0}, 0.905
        yield "cross-entropy", {"method.weights.cross_entropy": 0}, 0.943
        yield "kl divergence", {"method.divergence": "mse"}, 0.935
        yield "masking rate", {"method.mask_rate": 0.15}, 0.949
    elif name == "sizes":
        for layers in (1, 2, 3, 4):
            for method, gain in (("kd", 0.0), ("mate", 0.012), ("random_mask", 0.005)):
                values = {"student.layers": layers, "method.name": method}
                yield f"student.layers={layers} method.name={method}", values, 0.84 + 0.05 * math.log2(layers) + gain
    else:
        paths = {"adversary": "method.generator.frozen", "clean": "method.weights.distillation"}
        paths["gold"] = "method.weights.cross_entropy"
        for code in range(8):
            applied = [f for i, f in enumerate(paths) if code >> i & 1]
            loss = 0.02 * ("adversary" in applied) + 0.05 * ("clean" in applied) * (1 + ("gold" in applied))
            yield "+".join(applied) or "reference", {paths[f]: f == "adversary" for f in applied}, 0.95 - loss


def known(writer: Writer, home: Path, name: str, plan: str, seeds: int, missing: int = 0) -> None:
    """A grid or an ablation, complete but for its last `missing` trials, which failed."""
    kind = "grid" if name == "sizes" else "ablation"
    every = list(cells(name))
    writer.store.add_sweep(NewSweep(name, plan, kind, "movies", {"retention": "max"}, seeds * len(every), CLASSES))
    runs = []
    for seed in range(seeds):
        for cell, values, quality in every:
            trial = f"{len(runs):02x}{writer.draw.integers(16**6):06x}"
            good = quality + writer.draw.normal(0, 0.004)
            new = NewTrial(trial, len(runs), cell, seed, values, spec(values, seed), str(home / name / trial))
            writer.store.add_trials(name, [new])
            runs.append(Run(name, trial, values, seed, good, 60.0))
    for place, run in enumerate(runs):
        writer.train(run, 1.0 if place < len(runs) - missing else 0.3, evaluations=5)
        if place < len(runs) - missing:
            writer.finish(run)
        else:
            writer.store.finish_trial(name, run.trial, "failed", Outcome(error="out of memory", traceback=TRACEBACK))
    writer.store.set_sweep_state(name, "complete")


def odd(writer: Writer) -> None:
    """Sweeps that are hard to show: a killed one, one that has only begun, one whose words look like markup."""
    store = writer.store
    goals = {"retention": "max"}
    store.add_sweep(NewSweep("killed", SEARCH, "search", "movies", goals, 10))
    store.add_trials("killed", [NewTrial("dead0001", 0, "c0", 0, {"student.layers": 1}, spec({}, 0))])
    writer.train(Run("killed", "dead0001", {"student.layers": 1}, 0, 0.8), until=0.2)
    store.add_sweep(NewSweep("begun", SEARCH, "search", "movies", goals, 10))
    store.add_sweep(NewSweep(HOSTILE, "name: x\nbase: {}\n", "search", HOSTILE, goals, 2))
    store.add_trials(HOSTILE, [NewTrial("h0", 0, HOSTILE, 0, {"method.name": HOSTILE}, {"note": HOSTILE})])
    store.finish_trial(
        HOSTILE, "h0", "failed", Outcome({"retention": 0.5}, error=HOSTILE, traceback=HOSTILE, log=HOSTILE)
    )
    store.set_sweep_state(HOSTILE, "failed")


def build(folder: Path, now: float | None = None) -> str:
    """Write the database into a folder and return its URL."""
    url = f"sqlite:///{folder / 'limbeck.db'}"
    end = time.time() if now is None else now
    clock = Clock(end - 90_000)
    with open_store(url, clock=clock) as store:
        writer = Writer(store, clock)
        odd(writer)
        clock.now += 600
        known(writer, folder, "sizes", SIZES, seeds=3)
        known(writer, folder, "mate-ablation", ABLATION, seeds=5, missing=2)
        known(writer, folder, "factors", FACTORIAL, seeds=3)
        clock.now = end - 3400
        search(writer, folder)
        clock.now = end
        store.heartbeat("mate")
    return url


def live(url: str, pause_seconds: float) -> None:
    """Go on reporting for the running sweep."""
    from limbeck.store import open_reader

    with open_store(url) as store, open_reader(url) as reader:
        draw = np.random.default_rng(1)
        while True:
            for row in reader.trials("mate", states=["running"]):
                run = Run("mate", row.trial, row.values, row.seed, 0.93)
                updates = min(TOTAL, row.updates + 12)
                found = progress(run, updates / TOTAL, draw)
                store.record_progress("mate", row.trial, updates, TOTAL, row.seconds + 2, found, pairs(updates / TOTAL))
            time.sleep(pause_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--live", action="store_true")
    arguments = parser.parse_args()
    address = build(arguments.folder.absolute())
    print(json.dumps({"database": address}))
    if arguments.live:
        live(address, 2.0)

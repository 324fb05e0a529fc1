"""An engine without networks: trials whose numbers follow from their plan, quick to run and easy to disturb."""

import errno
import json
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limbeck.cache import Cache
from limbeck.cluster.engine import Engine, Say
from limbeck.noise import derived_seed
from limbeck.store import TrialRow
from limbeck.trial import TrialSpec
from limbeck.worker import Progress, Result, TrialFailed, Worker

ROWS = 12
DIVERGES, RAISES, DIES, DIES_ONCE = 0.91, 0.92, 0.93, 0.94
"""Weight decays by which a plan asks for trouble."""


@dataclass(frozen=True)
class ToyTask:
    fingerprint: str
    classes: tuple[str, ...] = ("no", "yes")


@dataclass(frozen=True)
class ToyShared:
    task: ToyTask
    teacher_key: str


class ToyStock:
    """Makes one small file in the cache."""

    def __init__(self, cache: Cache, device: torch.device, say: Say) -> None:
        self.cache, self.say = cache, say

    def prepare(self, spec: TrialSpec) -> ToyShared:
        folder = self.cache.folder("teachers", spec.task.model_dump(mode="json"), self.build)
        return ToyShared(ToyTask(str(spec.task.name)), folder.name)

    def prepared(self, spec: TrialSpec) -> ToyShared:
        return self.prepare(spec)

    def build(self, folder: Path) -> None:
        self.say("toy teacher: fitted")
        (folder / "weights.json").write_text("{}")


def toy_train(spec: TrialSpec, worker: Worker, stock: ToyStock) -> Result | None:
    """`training.updates` updates of `training.rows` milliseconds each, evaluated `training.evaluations` times."""
    # Averages make all ranks equal: what the first one wrote is good for all.
    state = worker.folder / "state-0.json"
    (worker.folder / f"pid-{worker.rank}").write_text(str(os.getpid()))
    # That which it was started with: a heap's pages are chosen then.
    (worker.folder / "environment").write_bytes(Path("/proc/self/environ").read_bytes())
    # Not above: a driver must import limbeck.cluster before it, which tells Ray to send its token.
    import ray

    if ray.is_initialized():
        (worker.folder / f"node-{worker.rank}").write_text(ray.get_runtime_context().get_node_id())
    start = {"updates": 0, "sum": 0.0, "seconds": 0.0, "resumed": [], "said": []}
    at = json.loads(state.read_text()) if state.is_file() else start
    total, count = spec.training.updates or 4, spec.training.evaluations or 4
    if at["updates"]:
        at["resumed"].append(at["updates"])
        # As the engine does: they may not have been heard.
        for past in at["said"]:
            worker.report(Progress(**past))
    points = {round(total * (i + 1) / count) for i in range(count)}
    while at["updates"] < total:
        time.sleep((spec.training.rows or 1) / 1000)
        at["updates"] += 1
        at["seconds"] += 0.001
        noise = torch.tensor([derived_seed(spec.seed, worker.rank, at["updates"]) % 1000 / 1000])
        worker.average([noise])
        at["sum"] += float(noise)
        if at["updates"] in points:
            progress = Progress(at["updates"], total, at["seconds"], metrics_of(spec, at))
            at["said"].append(vars(progress))
            if not worker.rank:
                work = worker.folder / ".state"
                work.write_text(json.dumps(at))
                work.rename(state)
            trouble(spec.training.weight_decay, worker)
            worker.report(progress)
            if worker.should_stop():
                return None
    return finish(spec, worker, at)


def fills_up(spec: TrialSpec, worker: Worker, stock: ToyStock) -> Result | None:
    """The toy's training on a disk that, as long as a file says so, fills up at a trial's second evaluation."""
    full = worker.folder.parent.parent / "full"

    def report(progress: Progress) -> None:
        worker.report(progress)
        if full.exists() and progress.updates == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    changed = Worker(worker.folder, report=report, should_stop=worker.should_stop, clock=worker.clock)
    return toy_train(spec, changed, stock)


def metrics_of(spec: TrialSpec, at: dict) -> dict[str, float]:
    quality = spec.training.learning_rate * 1e4 * at["updates"] / 10 + spec.method.mask_rate + at["sum"] / 1e3
    return {"retention": quality, "loss/total": 1 / quality, "selection/accuracy": quality / 2}


def trouble(decay: float, worker: Worker) -> None:
    if decay == DIVERGES:
        raise TrialFailed("diverged before update 1: loss/total is not a finite number")
    if decay == RAISES:
        raise RuntimeError("the toy broke")
    if decay == DIES:
        os._exit(1)
    mark = worker.folder / "died"
    if decay == DIES_ONCE and not mark.exists():
        mark.touch()
        os._exit(1)


def finish(spec: TrialSpec, worker: Worker, at: dict) -> Result | None:
    if worker.rank:
        return None
    metrics = metrics_of(spec, at) | {"test/retention": at["sum"], "resumed": float(len(at["resumed"]))}
    layers = float(spec.student.layers or 0)
    metrics |= {"parameters": 1e6 * layers, "latency_ms/onnx/batch1/p50": 2 * layers}
    metrics |= {"pid": float(os.getpid()), "threads": float(torch.get_num_threads())}
    predictions = worker.folder / "predictions"
    predictions.mkdir(exist_ok=True)
    logits = np.arange(2 * ROWS, dtype=np.float16).reshape(ROWS, 2) + spec.seed
    np.save(predictions / "test.npy", logits)
    np.save(predictions / "teacher-test.npy", -logits)
    np.save(predictions / "gold-test.npy", np.arange(ROWS) % 2)
    return Result(metrics, 1234, at["seconds"], worker.folder / "student", predictions)


def undisturbed(row: TrialRow, folder: Path, ranks: int = 1) -> dict[str, float]:
    """What a trial's numbers are when it runs in peace, its ranks' noise averaged."""
    folder.mkdir(parents=True)
    spec = TrialSpec.model_validate(row.spec)

    def average(tensors: Sequence[torch.Tensor]) -> None:
        at = json.loads((folder / "at").read_text()) + 1 if (folder / "at").exists() else 1
        (folder / "at").write_text(json.dumps(at))
        noise = [derived_seed(spec.seed, rank, at) % 1000 / 1000 for rank in range(ranks)]
        tensors[0].copy_(torch.tensor([sum(noise) / ranks]))

    quick = spec.model_copy(update={"training": spec.training.model_copy(update={"rows": 1})})
    worker = Worker(folder, average=average) if ranks > 1 else Worker(folder)
    result = toy_train(quick, worker, ToyStock.__new__(ToyStock))
    assert result
    return {name: value for name, value in result.metrics.items() if name not in ("pid", "threads", "resumed")}


def toy_sizes(spec: TrialSpec, stock: ToyStock, wanted: Collection[str]) -> dict[str, float]:
    return {"parameters": 1e6 * (spec.student.layers or 0)}


TOY = Engine(ToyStock, toy_train, toy_sizes)

"""One trial on the cluster: in the actor itself, or spread over a group of Ray Train workers."""

import gc
import json
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import ray
import torch
from filelock import FileLock, Timeout
from ray import tune
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from limbeck.cache import Cache
from limbeck.cluster.engine import Engine, Shared, Stock
from limbeck.cluster.hearing import hear, saying, warnings_kept
from limbeck.cluster.messages import End, Message, Ready, Refused, Report, Said, packed, spent, stop_requested
from limbeck.cluster.mishaps import disk_is_full, no_room
from limbeck.errors import UserError
from limbeck.memory import give_back, held
from limbeck.storage import HERE, Storage, Trail, reason
from limbeck.trial import TrialSpec
from limbeck.worker import RESULT, Progress, Result, TrialFailed, Worker

log = logging.getLogger(__name__)
_LOCK_SECONDS = 60.0
_LOG_LINES = 50
_POLL_SECONDS = 0.05
_ASK_SECONDS = 1.0
"""How often an object store is asked: a question costs money there."""
_READY = "ready"
_LITTLE_BYTES = 32 * 2**20
"""What a job may leave behind: looking for it takes 10 ms."""
_COMING_SECONDS = 30.0
"""How long the opening waits for actors that another's work keeps from starting."""
DEATHS_FORGIVEN = 3
"""How often a trial's process may die (killed, out of memory, a lost node) before the trial counts as failed."""
_CUDA_FAULT = "CUDA error"
_spoiled: list[str] = []
"""Faults after which this process can use its GPU no more: one would fail every trial that comes after."""


@dataclass(frozen=True)
class Setup:
    """What is the same for every trial of a sweep."""

    engine: Engine
    cache_root: Path
    workers: int
    cpus: float
    gpus: float
    limits: tuple[tuple[str, float], ...] = ()
    """Largest values of what is known of a student before it trains."""
    graph: bool = False
    """Whether students are timed in ONNX Runtime, too."""
    storage: Storage = HERE
    """What the trials' folders lie in."""
    heeds: bool = True
    """Whether a trial may be asked to stop, so that after each evaluation it waits until the driver has heard of it."""

    @property
    def threads(self) -> int:
        """CPU threads a process may use."""
        return max(1, int(self.cpus))


class OtherProcessError(Exception):
    """A trial's folder is in use."""


def run_job(config: Mapping[str, Any], setup: Setup) -> None:
    """Do what Tune hands this actor: make things ready, wait until another has done so, or run a trial.

    An exception that left this function would cost the actor and its imports.
    """
    if _spoiled:
        # Tune starts the trial again, in a process whose GPU answers.
        os._exit(1)
    # Child processes must find this cluster and no other on the same machine.
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    _leave_imports_alone()
    before, folder = held(), Path(config["folder"])
    if "trial" in config:
        with _telling(setup) as tell, saying(lambda line: tell(Said(line))):
            told = _in_group(setup, folder) if setup.workers else _in_place(setup, folder, tell)
        _tidy(setup, before)
        # Of a trial that says so itself Tune does not ask once more whether it is done.
        tune.report({**packed(told), "done": True})
    elif "specs" in config:
        with saying(lambda line: tune.report(packed(Said(line)))):
            _open(folder, setup, config)
        _tidy(setup, before)
    else:
        setup.storage.write_text(folder / config["mark"], "")
        setup.engine.warm()
        _await([folder / _READY], setup.storage)
        # Tune prints a line about a job that never reported.
        tune.report({"waited": True})


@contextmanager
def _telling(setup: Setup) -> Iterator[Callable[[Message], None]]:
    """Yield what hands messages to Tune, in their order.

    Tune's own report returns when the driver has dealt with it. A trial that no answer can stop need not wait so long.
    """
    if setup.heeds or setup.workers:
        yield lambda message: tune.report(packed(message))
        return
    sent: list[Future[None]] = []
    with ThreadPoolExecutor(1, "reports") as outbox:
        yield lambda message: sent.append(outbox.submit(tune.report, packed(message)))
    for one in sent:
        one.result()


def _tidy(setup: Setup, held_before: int) -> None:
    if held() - held_before > _LITTLE_BYTES:
        give_back()
    if setup.gpus:
        torch.cuda.empty_cache()


@cache
def _leave_imports_alone() -> None:
    """Keep the collector away from what the imports made: looking through it would take 0.2 s a trial."""
    gc.freeze()


def _open(folder: Path, setup: Setup, config: Mapping[str, Any]) -> None:
    """Make things ready; then let the actors go that waited, whatever came of it.

    Not before they are all there: with one actor free Tune hands it every trial and calls off the actor that was still
    coming, so that trials shorter than an actor's start would run one after another for ever.
    """
    try:
        told = _make_ready_in_worker(setup, config) if config["in_worker"] else make_ready(setup, config)
        if isinstance(told, Ready):
            _await([folder / mark for mark in config["others"]], setup.storage, _COMING_SECONDS)
        tune.report(packed(told))
    finally:
        # The driver clears the folder when it gives up.
        with suppress(OSError):
            setup.storage.write_text(folder / _READY, "")


def _await(paths: Sequence[Path], storage: Storage, seconds: float = math.inf) -> None:
    """Wait until there are files at all paths, or for so long."""
    until = time.monotonic() + seconds
    while not storage.insist(lambda: all(map(storage.exists, paths))) and time.monotonic() < until:
        time.sleep(_ASK_SECONDS if storage.remote else _POLL_SECONDS)


def make_ready(setup: Setup, config: Mapping[str, Any]) -> Ready | Refused:
    """Make what trials share, with all the threads there are: nothing else runs meanwhile."""
    torch.set_num_threads(config["threads"])
    try:
        stock = _stock(setup)
        for spec in config["specs"]:
            stock.prepare(TrialSpec.model_validate_json(spec))
    except UserError as error:
        return Refused(problems=[(problem.where, problem.what) for problem in error.problems])
    except Exception as error:
        return Refused(traceback="".join(traceback.format_exception(error)))
    return Ready()


def _in_place(setup: Setup, folder: Path, tell: Callable[[Message], None]) -> End | Refused:
    """Train in this process, by Ray Train's local mode; progress goes to Tune directly, which that mode does not do."""

    def loop() -> End | Refused:
        worker = Worker(
            folder,
            report=lambda progress: tell(report_of(progress, spec)),
            should_stop=lambda: asked_to_stop(folder, setup.storage),
            clock=time.perf_counter,
            graph=setup.graph,
        )
        return attempt(setup, spec, worker)

    spec = read_spec(folder, setup.storage)
    torch.set_num_threads(setup.threads)
    result = TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=0)).fit()
    told: End | Refused = result.return_value
    return told


def _in_group(setup: Setup, folder: Path) -> End | Refused:
    from limbeck.cluster.group import train_in_group

    return train_in_group(setup, folder)


def _make_ready_in_worker(setup: Setup, config: Mapping[str, Any]) -> Ready | Refused:
    from limbeck.cluster.group import make_ready_in_worker

    return make_ready_in_worker(setup, config)


def attempt(setup: Setup, spec: TrialSpec, worker: Worker) -> End | Refused:
    """Train, and turn what comes of it into an end. Errors that are not the trial's own keep their traceback.

    A full disk is no end: every trial would fail by it. The sweep breaks off, and can go on when there is room.
    """
    with warnings_kept() as lines:
        try:
            with alone(worker.folder) if worker.rank == 0 else nullcontext():
                end = _train(setup, spec, worker)
            setup.storage.leave(worker.folder)
        except (TrialFailed, UserError) as error:
            end = End("failed", error=str(error))
        except Exception as error:
            if worker.world_size > 1:
                # The other workers wait for this one: only Train can end them.
                raise
            if disk_is_full(error, worker.folder):
                return no_room(worker.folder)
            end = failed(error)
            if setup.gpus and _CUDA_FAULT in str(error):
                _spoiled.append(str(error))
    return replace(end, log="\n".join(lines[-_LOG_LINES:])) if lines else end


def _train(setup: Setup, spec: TrialSpec, worker: Worker) -> End:
    if setup.storage.insist(lambda: stop_requested(worker.folder, setup.storage)):
        return End("stopped")
    trail = Trail(setup.storage, worker.folder)
    setup.storage.insist(trail.fetch)
    stock = _stock(setup)
    shared = stock.prepared(spec)
    if setup.limits and (reason := _above(setup.limits, setup.engine.sizes(spec, stock, dict(setup.limits)))):
        return End("stopped", error=reason)
    first = worker.rank == 0
    result = setup.engine.train(spec, _pushing(worker, trail) if first else worker, stock)
    if first:
        setup.storage.insist(lambda: trail.push(RESULT))
    if result is None:
        return End("stopped")
    return _complete(result, shared)


def _pushing(worker: Worker, trail: Trail) -> Worker:
    """Return the worker with a report that brings what lies in its folder, a checkpoint first of all, to the storage.

    A store that is away for a while costs nothing: what could not be brought goes with the next evaluation's.
    """

    def report(progress: Progress) -> None:
        try:
            trail.push()
        except OSError as error:
            log.warning("the checkpoint at update %d stays on its node: %s", progress.updates, reason(error))
        worker.report(progress)

    return replace(worker, report=report)


def _above(limits: Sequence[tuple[str, float]], sizes: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} of {_figure(sizes[name])} is above the plan's limit of {_figure(most)}"
        for name, most in limits
        if sizes[name] > most
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def failed(error: BaseException) -> End:
    """Return the end of a trial that raised."""
    said = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError):
        way_out = "give it more of one (cluster.gpus), or take a smaller training.batch_size"
        reason = f"the trial does not fit in its share of the GPU's memory: {way_out}"
    return End("failed", error=reason, traceback="".join(traceback.format_exception(error)))


def _complete(result: Result, shared: Shared) -> End:
    return End(
        "complete",
        metrics=dict(result.metrics),
        parameters=result.parameters,
        seconds=result.seconds,
        task=shared.task.fingerprint,
        teacher=shared.teacher_key,
        classes=shared.task.classes,
    )


def _stock(setup: Setup) -> Stock:
    if 0 < setup.gpus < 1:
        # Several trials on one GPU: one that grew into the others' memory would take them down with it.
        torch.cuda.set_per_process_memory_fraction(setup.gpus)
    return _warm_stock(setup.engine, setup.cache_root, "cuda" if setup.gpus else "cpu")


@cache
def _warm_stock(engine: Engine, cache_root: Path, device: str) -> Stock:
    """This process's stock: the next trial in it finds everything loaded."""
    return engine.stock(Cache(cache_root), torch.device(device), hear)


def read_spec(folder: Path, storage: Storage = HERE) -> TrialSpec:
    """Read what the driver left in a trial's folder."""
    text = storage.insist(lambda: storage.read_text(folder / "trial.json"))
    return TrialSpec.model_validate(json.loads(text)["spec"])


def asked_to_stop(folder: Path, storage: Storage) -> bool:
    """Say whether the trial in `folder` was asked to stop; a store that is away says no, until the next evaluation."""
    try:
        return stop_requested(folder, storage)
    except OSError as error:
        if not storage.remote:
            raise
        log.warning("%s was not asked whether the trial is to stop: %s", storage.uri, reason(error))
        return False


def report_of(progress: Progress, spec: TrialSpec) -> Report:
    """Turn a trial's progress into what travels."""
    return Report(
        updates=progress.updates,
        updates_total=progress.updates_total,
        share=spent(progress.updates, progress.updates_total, progress.seconds, spec.training.seconds),
        seconds=progress.seconds,
        metrics=dict(progress.metrics),
        examples=list(progress.examples),
    )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a trial's folder: a worker that outlived its driver for a moment must not write beside its successor."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise OtherProcessError(f"{folder} has been in use by another process for {_LOCK_SECONDS:.0f} s") from None

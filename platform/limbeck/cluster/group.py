"""A trial over several Ray Train workers: each sees its share of every batch, and gradients are averaged."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray import tune
from ray.exceptions import RayActorError
from ray.train import RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback
from torch import Tensor

from limbeck.cluster.averaging import PeerLostError, average, with_peers
from limbeck.cluster.hearing import saying
from limbeck.cluster.messages import End, Ready, Refused, Said, packed
from limbeck.cluster.mishaps import disk_is_full, no_room
from limbeck.cluster.worker import (
    DEATHS_FORGIVEN,
    Setup,
    asked_to_stop,
    attempt,
    failed,
    make_ready,
    read_spec,
    report_of,
)
from limbeck.worker import Progress, Worker

_POLL_SECONDS = "0.2"
"""How often Train's controller looks for reports. Its default of 2 s would hold up every evaluation that long."""


def train_in_group(setup: Setup, folder: Path) -> End | Refused:
    """Train the trial in `folder` over `setup.workers` workers, from a driver that holds no CPU of theirs.

    When a worker's process dies the others cannot go on: all start again, from the last checkpoint.
    """
    deaths = 0
    while True:
        try:
            told: End | Refused = _fit(_loop, {"setup": setup, "folder": folder}, setup, setup.workers, folder)
        except TrainingFailedError as error:
            died = _died(error)
            # As Tune has it: a machine that its owner took back is nobody's fault.
            deaths += not (died and all(one.preempted for one in died))
            if (died or _left_alone(error)) and deaths <= DEATHS_FORGIVEN:
                line = f"trial {folder.name}: a worker's process died; all go on from the last checkpoint"
                tune.report(packed(Said(line)))
                continue
            cause = _first_cause(error)
            return no_room(folder) if disk_is_full(cause, folder) else failed(cause)
        return told


def make_ready_in_worker(setup: Setup, config: Mapping[str, Any]) -> Ready | Refused:
    """Make what trials share in one worker, for the driver has neither CPUs nor a GPU."""
    told: Ready | Refused = _fit(
        _ready_loop, {"setup": setup, "config": dict(config)}, setup, 1, Path(config["folder"])
    )
    return told


def _fit(loop: Callable[[dict[str, Any]], Any], config: dict[str, Any], setup: Setup, workers: int, at: Path) -> Any:
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = _POLL_SECONDS
    scratch = at / ".train"
    resources = {"CPU": setup.cpus} | ({"GPU": setup.gpus} if setup.gpus else {})
    trainer = TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=bool(setup.gpus), resources_per_worker=resources),
        run_config=RunConfig(name="train", storage_path=setup.storage.shown(scratch), callbacks=[TuneReportCallback()]),
    )
    try:
        return trainer.fit().return_value
    finally:
        setup.storage.discard(scratch)


def _ready_loop(config: dict[str, Any]) -> Ready | Refused:
    with saying(lambda line: ray.train.report(packed(Said(line)))):
        return make_ready(config["setup"], config["config"])


def _died(error: TrainingFailedError) -> list[RayActorError]:
    """Return the ends of workers that ended without a word: what the others raise then is that they lost them."""
    failures = error.worker_failures.values() if isinstance(error, ray.train.WorkerGroupError) else ()
    ends = [getattr(failure, "health_check_failure", None) for failure in failures]
    return [end for end in ends if isinstance(end, RayActorError)]


def _left_alone(error: TrainingFailedError) -> bool:
    """Whether all that Train heard is that workers lost another: the end of a whole node is told later."""
    failures = error.worker_failures.values() if isinstance(error, ray.train.WorkerGroupError) else ()
    return bool(failures) and all(isinstance(failure, PeerLostError) for failure in failures)


def _first_cause(error: Exception) -> BaseException:
    """The first worker's own error, where Train says which it was: the others may only have lost that worker."""
    if isinstance(error, ray.train.WorkerGroupError) and error.worker_failures:
        failures: dict[int, BaseException] = error.worker_failures
        return failures[min(failures, key=lambda rank: (isinstance(failures[rank], PeerLostError), rank))]
    return error


def _loop(config: dict[str, Any]) -> End | Refused:
    """One worker's part of a trial; what rank 0 returns is the trial's end."""
    context = ray.train.get_context()
    setup, folder = _own_copy(config["setup"], config["folder"], context.get_world_rank())
    spec = read_spec(folder, setup.storage)
    torch.set_num_threads(setup.threads)

    def report(progress: Progress) -> None:
        # Every rank has to report, or Train waits for it for ever; it hands on what rank 0 said.
        ray.train.report(packed(report_of(progress, spec)))

    worker = Worker(
        folder,
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        average=average,
        gather=gather,
        report=report,
        should_stop=_agreed(lambda: asked_to_stop(folder, setup.storage), get_device()),
        clock=time.perf_counter,
        graph=setup.graph,
    )
    return attempt(setup, spec, worker)


def _own_copy(setup: Setup, folder: Path, rank: int) -> tuple[Setup, Path]:
    """Where folders are copies, workers on one node must not share one: give each but the first another place."""
    storage = setup.storage
    if rank == 0 or not storage.remote:
        return setup, folder
    aside = replace(storage, folder=storage.folder / f".rank-{rank}")
    return replace(setup, storage=aside), aside.folder / folder.relative_to(storage.folder)


def gather(tensor: Tensor) -> Tensor:
    """(b, …) of this worker -> (B, …) of all workers in the order of ranks; every worker must hold the same b.

    Backward: a worker receives the gradient of its own rows, times the number of workers. Averaged over the workers
    that is the gradient of one worker with the whole batch, provided all compute the same value from what they got.
    """
    out: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return out


class _Gather(torch.autograd.Function):
    """all_gather with a gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        with with_peers():
            dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.rows
        return grad[start : start + ctx.rows] * dist.get_world_size()


def _agreed(asked: Callable[[], bool], device: torch.device) -> Callable[[], bool]:
    """Return `asked` of rank 0 as every rank's answer: a rank that saw it a moment later would wait for ever."""

    def answer() -> bool:
        flag = torch.tensor([float(dist.get_rank() == 0 and asked())], device=device)
        with with_peers():
            dist.all_reduce(flag)
        return bool(flag.item() > 0)

    return answer

"""Trials over two Ray Train workers, stopped early and to their end, on two CPUs."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch
from cluster_toys import ToyStock, metrics_of, toy_sizes, toy_train
from ray.exceptions import RayActorError
from ray.train import ControllerError, WorkerGroupError

from limbeck.cluster import group
from limbeck.cluster.averaging import PeerLostError, average
from limbeck.cluster.engine import Engine
from limbeck.cluster.group import gather
from limbeck.cluster.sweep import Site, run_sweep
from limbeck.plan import Plan
from limbeck.store import open_reader
from limbeck.training import Result, Worker
from limbeck.trial import TrialSpec


def two_workers_train(spec: TrialSpec, worker: Worker, stock: ToyStock) -> Result | None:
    """The toy's training, and what the two workers make of each other's tensors."""
    rank = float(worker.rank)
    mixed = [torch.full((3,), rank), torch.full((2, 2), rank, dtype=torch.float64), torch.tensor([10 * rank])]
    worker.average(mixed)
    mine = torch.tensor([[rank, 2.0]], requires_grad=True)
    everyone = worker.gather(mine)
    (everyone[:, 0] ** 2 * torch.tensor([5.0, 7.0])).sum().backward()
    seen = {
        "world": worker.world_size,
        "means": [tensor.mean().item() for tensor in mixed],
        "gathered": everyone.tolist(),
        "gradient": mine.grad.tolist() if mine.grad is not None else None,
        "threads": torch.get_num_threads(),
    }
    (worker.folder / f"seen-{worker.rank}.json").write_text(json.dumps(seen))
    return toy_train(spec, worker, stock)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_share_a_trial(make_plan: Callable[..., Plan], site: Site, ray_here: None) -> None:
    plan = make_plan(
        """
vary:
  method.mask_rate: {choice: [0.4, 0.2]}
search: {sampler: grid, early_stop: asha, grace: 0.25, reduction: 2}
cluster: {workers: 2, cpus: 1}
""",
        "training.rows=200",
    )
    # As on a cluster of others, where a worker of its own makes ready what trials share.
    result = run_sweep(plan, replace(site, address="auto"), engine=Engine(ToyStock, two_workers_train, toy_sizes))
    with open_reader(site.database) as reader:
        rows = {row.values["method.mask_rate"]: row for row in reader.trials("toy")}
        assert reader.sweep("toy").notes["prepared"] == ["toy teacher: fitted"]
    assert {rate: row.state for rate, row in rows.items()} == {0.4: "complete", 0.2: "stopped"}
    assert (result.state, result.exit_code) == ("complete", 0)
    assert 0 < rows[0.2].updates < 8
    done = rows[0.4]
    at = json.loads((Path(str(done.folder)) / "state-0.json").read_text())
    assert done.metrics["retention"] == pytest.approx(metrics_of(TrialSpec.model_validate(done.spec), at)["retention"])

    for rank in (0, 1):
        seen = json.loads((Path(str(done.folder)) / f"seen-{rank}.json").read_text())
        assert (seen["world"], seen["threads"]) == (2, 1)
        assert seen["means"] == [0.5, 0.5, 5.0]
        assert seen["gathered"] == [[0.0, 2.0], [1.0, 2.0]]
        # d/dx of 5 x0² and of 7 x1², times two workers that each count it.
        assert seen["gradient"] == [[28.0 * rank, 0.0]]
    nothing_is_left(Path(str(done.folder)))


def nothing_is_left(folder: Path) -> None:
    assert not (folder / ".train").exists()
    end = time.monotonic() + 60
    while ray.available_resources().get("CPU") != ray.cluster_resources().get("CPU"):
        assert time.monotonic() < end, "CPUs are still held"
        time.sleep(0.1)
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}


def test_the_first_workers_own_error_is_the_trials() -> None:
    broke = RuntimeError("rank 1 broke")
    assert group._first_cause(WorkerGroupError("two failed", {3: ValueError("later"), 1: broke})) is broke
    lost = PeerLostError("connection closed")
    assert group._first_cause(WorkerGroupError("two failed", {0: lost, 1: broke})) is broke
    other = ControllerError(RuntimeError("no workers"))
    assert group._first_cause(other) is other


def test_workers_that_went_are_told_from_those_that_lost_them() -> None:
    class Unheard(RuntimeError):
        """As Train says that a worker does not answer."""

        def __init__(self, cause: Exception) -> None:
            self.health_check_failure = cause

    went = [RayActorError("a", "gone"), RayActorError("b", "gone", preempted=True)]
    lost = WorkerGroupError("three", {0: RuntimeError("lost peers"), 1: Unheard(went[0]), 2: Unheard(went[1])})
    assert group._died(lost) == went and [one.preempted for one in went] == [False, True]
    assert group._died(WorkerGroupError("own", {0: ValueError("no"), 1: Unheard(TimeoutError())})) == []
    assert group._died(ControllerError(RuntimeError("no workers"))) == []


def test_who_only_lost_another_goes_on_and_who_broke_does_not() -> None:
    alone = PeerLostError("connection closed")
    assert group._left_alone(WorkerGroupError("one", {0: alone}))
    assert not group._left_alone(WorkerGroupError("two", {0: alone, 1: ValueError("no")}))
    assert not group._left_alone(ControllerError(RuntimeError("no workers")))


def test_one_worker_alone_needs_no_group(tmp_path: Path) -> None:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        values = torch.tensor([[1.0, 2.0]], requires_grad=True)
        out = gather(values)
        (out * torch.tensor([[3.0, 4.0]])).sum().backward()
        assert out.tolist() == [[1.0, 2.0]] and values.grad is not None and values.grad.tolist() == [[3.0, 4.0]]
        kept = torch.tensor([1.0, 2.0])
        average([kept])
        assert kept.tolist() == [1.0, 2.0]
    finally:
        torch.distributed.destroy_process_group()

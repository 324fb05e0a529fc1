import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster_toys import DIVERGES, RAISES, TOY, ToyStock
from filelock import FileLock

from limbeck import storage as storage_module
from limbeck.cluster import worker as module
from limbeck.cluster.engine import Engine
from limbeck.cluster.hearing import saying
from limbeck.cluster.messages import Ready, Refused, request_stop, unpacked
from limbeck.cluster.tuning import Opening
from limbeck.cluster.worker import Setup, _above, asked_to_stop, attempt, make_ready, read_spec, report_of
from limbeck.errors import Problem, UserError
from limbeck.plan import Plan
from limbeck.storage import Storage
from limbeck.training import Progress, Result, Worker
from limbeck.trial import TrialSpec
from object_store import object_store

MakePlan = Callable[..., Plan]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(TOY, tmp_path / "cache", workers=0, cpus=1.0, gpus=0.0)


def spec_of(make_plan: MakePlan, *overrides: str) -> TrialSpec:
    return make_plan("", *overrides).spec({}, 3)


def test_a_trial_that_ends_brings_its_numbers(make_plan: MakePlan, setup: Setup, tmp_path: Path) -> None:
    reports: list[Progress] = []
    end = attempt(setup, spec_of(make_plan), Worker(tmp_path, report=reports.append))
    assert [progress.updates for progress in reports] == [2, 4, 6, 8]
    assert (end.state, end.parameters, end.task) == ("complete", 1234, "movies")
    assert end.metrics["retention"] == reports[-1].metrics["retention"]
    assert end.log is None


def test_a_diverging_trial_says_why_and_a_broken_one_where(make_plan: MakePlan, setup: Setup, tmp_path: Path) -> None:
    end = attempt(setup, spec_of(make_plan, f"training.weight_decay={DIVERGES}"), Worker(tmp_path))
    assert (end.state, end.traceback) == ("failed", None)
    assert end.error == "diverged before update 1: loss/total is not a finite number"
    end = attempt(setup, spec_of(make_plan, f"training.weight_decay={RAISES}"), Worker(tmp_path))
    assert (end.state, end.error) == ("failed", "RuntimeError: the toy broke")
    assert end.traceback and "in trouble" in end.traceback


def test_one_of_several_workers_does_not_swallow_a_bug(make_plan: MakePlan, setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the toy broke"):
        attempt(setup, spec_of(make_plan, f"training.weight_decay={RAISES}"), Worker(tmp_path, world_size=2))


def test_a_trial_that_was_asked_to_stop_does_not_start(make_plan: MakePlan, setup: Setup, tmp_path: Path) -> None:
    request_stop(tmp_path)
    assert attempt(setup, spec_of(make_plan), Worker(tmp_path)).state == "stopped"
    assert not (tmp_path / "state-0.json").exists()


def test_a_folder_in_use_is_left_alone(
    make_plan: MakePlan, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"):
        end = attempt(setup, spec_of(make_plan), Worker(tmp_path))
    assert end.state == "failed" and "in use by another process" in str(end.error)
    assert not (tmp_path / "state-0.json").exists()


def warns(spec: TrialSpec, worker: Worker, stock: Any) -> Result | None:
    logging.getLogger("limbeck.checkpoint").warning("checkpoint %s is damaged", "step-1")
    return None


def test_what_a_trial_warns_of_is_kept(make_plan: MakePlan, setup: Setup, tmp_path: Path) -> None:
    warning = Setup(Engine(ToyStock, warns, TOY.sizes), setup.cache_root, 0, 1.0, 0.0)
    assert attempt(warning, spec_of(make_plan), Worker(tmp_path)).log == "checkpoint step-1 is damaged"
    assert attempt(setup, spec_of(make_plan), Worker(tmp_path)).log is None


def test_the_stock_is_made_once_and_tells_whoever_listens(make_plan: MakePlan, setup: Setup) -> None:
    lines: list[str] = []
    config = {"specs": [spec_of(make_plan).model_dump_json()], "threads": 1}
    with saying(lines.append):
        assert make_ready(setup, config) == Ready()
        assert make_ready(setup, config) == Ready()
    assert lines == ["toy teacher: fitted"]


def test_limits_are_told_in_figures_of_their_own() -> None:
    assert _above((("latency_ms", 5.0),), {"latency_ms": 5.432}) == "latency_ms of 5.43 is above the plan's limit of 5"
    assert _above((("latency_ms", 5.0),), {"latency_ms": 4.9}) == ""


def test_a_student_above_a_limit_is_refused_before_it_trains(make_plan: MakePlan, tmp_path: Path) -> None:
    limited = Setup(TOY, tmp_path / "cache", 0, 1.0, 0.0, limits=(("parameters", 2e6),))
    end = attempt(limited, spec_of(make_plan, "student.layers=3"), Worker(tmp_path))
    assert (end.state, end.error) == ("stopped", "parameters of 3,000,000 is above the plan's limit of 2,000,000")
    assert not (tmp_path / "state-0.json").exists()
    assert attempt(limited, spec_of(make_plan, "student.layers=2"), Worker(tmp_path)).state == "complete"


def breaks_the_gpu(spec: TrialSpec, worker: Worker, stock: Any) -> Result | None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def test_a_process_whose_gpu_is_lost_runs_no_more_trials(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_spoiled", [])
    for gpus, lost in ((0.0, 0), (1.0, 1)):
        setup = Setup(Engine(ToyStock, breaks_the_gpu, TOY.sizes), tmp_path / "cache", 0, 1.0, gpus)
        assert attempt(setup, spec_of(make_plan), Worker(tmp_path)).state == "failed"
        assert len(module._spoiled) == lost
    monkeypatch.setattr(module.os, "_exit", sys.exit)
    with pytest.raises(SystemExit):
        module.run_job({}, setup)


def outgrows_its_share(spec: TrialSpec, worker: Worker, stock: Any) -> Result | None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 79 GiB.")


def test_trials_that_share_a_gpu_keep_to_their_share_of_its_memory(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    for gpus in (0.0, 0.25, 1.0):
        setup = Setup(Engine(ToyStock, outgrows_its_share, TOY.sizes), tmp_path / "cache", 0, 1.0, gpus)
        end = attempt(setup, spec_of(make_plan), Worker(tmp_path))
        assert end.error == (
            "the trial does not fit in its share of the GPU's memory: "
            "give it more of one (cluster.gpus), or take a smaller training.batch_size"
        )
    assert shares == [0.25], "a whole GPU is the trial's own"
    assert not module._spoiled, "the next trial may fit"


class RefusingStock:
    """Finds fault with everything."""

    def __init__(self, *_: Any) -> None: ...

    def prepare(self, spec: TrialSpec) -> Any:
        raise UserError(Problem("base.teacher", "no better than chance"), Problem("base.task", "empty"))


class BrokenStock:
    """Has a bug."""

    def __init__(self, *_: Any) -> None: ...

    def prepare(self, spec: TrialSpec) -> Any:
        raise ZeroDivisionError("oops")


def test_what_cannot_be_made_ready_is_told_with_its_problems(make_plan: MakePlan, tmp_path: Path) -> None:
    config = {"specs": [spec_of(make_plan).model_dump_json()], "threads": 1}
    refused = make_ready(Setup(Engine(RefusingStock, TOY.train, TOY.sizes), tmp_path, 0, 1.0, 0.0), config)
    assert refused == Refused([("base.teacher", "no better than chance"), ("base.task", "empty")])
    broken = make_ready(Setup(Engine(BrokenStock, TOY.train, TOY.sizes), tmp_path, 0, 1.0, 0.0), config)
    assert isinstance(broken, Refused) and "ZeroDivisionError: oops" in str(broken.traceback)


def test_the_spent_share_counts_seconds_where_they_are_the_budget(make_plan: MakePlan) -> None:
    progress = Progress(2, 8, 30.0, {"retention": 0.5}, None, [])
    assert report_of(progress, spec_of(make_plan)).share == 0.25
    assert report_of(progress, spec_of(make_plan, "training.seconds=40")).share == 0.75


def test_the_worker_reads_the_trial_its_driver_wrote(make_plan: MakePlan, tmp_path: Path) -> None:
    spec = spec_of(make_plan)
    (tmp_path / "trial.json").write_text(json.dumps({"spec": spec.model_dump(mode="json")}))
    assert read_spec(tmp_path) == spec


def test_a_store_that_is_away_for_a_while_costs_no_trial(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, answers, faults = spec_of(make_plan), storage_module._open, [OSError("AWS Error NETWORK_CONNECTION")]
    setup = Setup(TOY, tmp_path / "cache", 0, 1.0, 0.0, storage=Storage(tmp_path / "runs", "s3://runs/home"))
    folder = setup.storage.folder / "t"

    def opened(uri: str) -> tuple[Any, str]:
        if faults:
            raise faults.pop()
        return answers(uri)

    worker = Worker(
        folder,
        report=lambda _: faults.append(OSError("AWS Error NETWORK_CONNECTION")),
        should_stop=lambda: asked_to_stop(folder, setup.storage),
    )
    monkeypatch.setattr(storage_module, "_open", opened)
    monkeypatch.setattr(storage_module, "_RETRY_SECONDS", 0.0)
    with object_store("runs") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        storage_module._store.cache_clear()
        text = json.dumps({"spec": spec.model_dump(mode="json")})
        setup.storage.insist(lambda: setup.storage.write_text(folder / "trial.json", text))
        faults.append(OSError("AWS Error NETWORK_CONNECTION"))
        assert read_spec(folder, setup.storage) == spec
        faults.append(OSError("AWS Error NETWORK_CONNECTION"))
        end = attempt(setup, spec, worker)
        assert (end.state, end.error) == ("complete", None)
        assert str(end.log).count("was not asked whether the trial is to stop") == 4, "once after each evaluation"
        request_stop(folder, setup.storage)
        assert asked_to_stop(folder, setup.storage) and attempt(setup, spec, worker).state == "stopped"
        with pytest.raises(FileNotFoundError):
            read_spec(folder.with_name("nobody"), setup.storage)
    storage_module._store.cache_clear()


def test_the_opening_ends_when_all_actors_have_come_or_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setup: Setup
) -> None:
    first, *others = Opening((), 1, False, tmp_path).jobs(3)
    marks = [tmp_path / other["mark"] for other in others]
    told: list[tuple[dict[str, Any], int]] = []
    monkeypatch.setattr(module.tune, "report", lambda result: told.append((result, sum(map(os.path.exists, marks)))))
    coming = [threading.Timer(0.2 * (k + 1), mark.touch) for k, mark in enumerate(marks)]
    for each in coming:
        each.start()
    module._open(tmp_path, setup, first)
    assert [(unpacked(result), count) for result, count in told] == [(Ready(), 2)]

    marks[0].unlink()
    monkeypatch.setattr(module, "_COMING_SECONDS", 0.2)
    module._open(tmp_path, setup, first)
    assert [count for _, count in told] == [2, 1], "one that never comes holds nothing up"

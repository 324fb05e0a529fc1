"""The run of Ray Tune under a sweep."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory

from limbeck.cluster.ledger import Ledger
from limbeck.cluster.mishaps import disk_is_full, explained
from limbeck.cluster.search import InOrder, StoreCallback, StudyBridge
from limbeck.cluster.worker import DEATHS_FORGIVEN, Setup, run_job
from limbeck.storage import Storage


@dataclass(frozen=True)
class Opening:
    """What comes before the trials: one job makes ready what they share, while other actors do their imports."""

    specs: tuple[str, ...]
    """A trial as JSON for each set of things to make."""
    threads: int
    """CPU threads to make them with."""
    in_worker: bool
    """Whether a nested trial's actor, which holds neither CPUs nor GPUs, has a worker do it."""
    folder: Path

    def jobs(self, actors: int) -> list[dict[str, Any]]:
        """Return what to hand to the first `actors` actors."""
        folder, marks = str(self.folder), [f"actor-{k}" for k in range(1, actors)]
        making = {"specs": list(self.specs), "threads": self.threads, "in_worker": self.in_worker}
        return [{"folder": folder, "others": marks, **making}, *({"folder": folder, "mark": mark} for mark in marks)]


def run_trials(ledger: Ledger, setup: Setup, opening: Opening, callback: StoreCallback, at_once: int) -> None:
    """Run the ledger's trials, `at_once` of them side by side, until there are none left.

    Raises what the callback's listeners raised, and nothing for trials that fail. UserError: the runs' disk or store.
    """
    _make_anew(opening.folder, setup.storage)

    def trainable(config: dict[str, Any]) -> None:
        run_job(config, setup)

    # Two sweeps on one cluster would overwrite each other's trainable if its name were the same.
    name = f"limbeck-{uuid.uuid4().hex[:12]}"
    tune.register_trainable(name, trainable)
    # A nested trial's actor waits for its workers, which need the CPUs that other waiting actors would hold.
    actors = 1 if setup.workers else at_once
    try:
        tune.run(
            name,
            name="run",
            search_alg=StudyBridge(ledger, opening.jobs(actors), callback),
            scheduler=InOrder(),
            num_samples=-1,
            max_concurrent_trials=at_once,
            resources_per_trial=_resources(setup),
            reuse_actors=True,
            max_failures=DEATHS_FORGIVEN,
            raise_on_failed_trial=False,
            callbacks=[callback],
            storage_path=setup.storage.shown(opening.folder),
            trial_dirname_creator=_short_name,
            verbose=0,
        )
    except Exception as error:
        if callback.error is None and not disk_is_full(error, opening.folder):
            raise
        raise explained(callback.error or error, setup.storage) from None
    finally:
        setup.storage.discard(opening.folder)


def _make_anew(folder: Path, storage: Storage) -> None:
    try:
        storage.insist(lambda: storage.remove(folder))
        folder.mkdir(parents=True)
    except OSError as error:
        raise explained(error, storage) from None


def _short_name(trial: Any) -> str:
    return str(trial.trial_id)


def _resources(setup: Setup) -> PlacementGroupFactory:
    """What Tune holds for a trial.

    A nested trial's driver holds one byte of memory: it must hold something, and CPUs it held would be missing for
    the workers it waits for.
    """
    if setup.workers:
        return PlacementGroupFactory([{"memory": 1}])
    return PlacementGroupFactory([{"CPU": setup.cpus, **({"GPU": setup.gpus} if setup.gpus else {})}])

"""What the run of Tune under a sweep does about faults in the driver; Tune itself stays out of it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_toys import TOY

from limbeck.cluster import tuning as module
from limbeck.cluster.search import StoreCallback, StudyBridge
from limbeck.cluster.tuning import Opening, run_trials
from limbeck.cluster.worker import Setup
from limbeck.errors import UserError
from limbeck.storage import Storage


class Away(Storage):
    """An object store that has gone away, as often as it is asked."""

    def remove(self, path: Path) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION")


def nothing(*_: Any) -> None:
    return None


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, hand_out: Callable[[], Any], storage: Storage | None = None
) -> None:
    """Run the trials of a ledger that hands out by `hand_out`, with a Tune that asks once."""

    def asks(_: str, search_alg: StudyBridge, **settings: Any) -> None:
        assert search_alg.suggest("0") == {}
        if storage is not None:
            monkeypatch.setattr(Storage, "remove", Away.remove)
        search_alg.suggest("1")

    monkeypatch.setattr(module.tune, "run", asks)
    monkeypatch.setattr(module.tune, "register_trainable", nothing)
    ledger: Any = SimpleNamespace(next=hand_out)
    callback = StoreCallback(ledger, nothing, nothing, nothing)
    callback.is_open = True
    setup = Setup(TOY, folder, 0, 1.0, 0.0, storage=storage or Storage(folder))
    opening: Any = SimpleNamespace(folder=folder / ".tune", jobs=lambda actors: [{}])
    run_trials(ledger, setup, opening, callback, 1)


def test_a_driver_that_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(number: int) -> Callable[[], None]:
        def hand_out() -> None:
            raise OSError(number, os.strerror(number))

        return hand_out

    with pytest.raises(UserError, match=f"^{tmp_path}: the disk is full: make room, and go on with limbeck sweep"):
        run(monkeypatch, tmp_path, raising(errno.ENOSPC))
    with pytest.raises(UserError, match=f"^{tmp_path}: runs cannot be kept here: Permission denied; when they can, go"):
        run(monkeypatch, tmp_path, raising(errno.EACCES))
    assert list(tmp_path.iterdir()) == []

    def broken() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError, match="oops"):
        run(monkeypatch, tmp_path, broken)


def test_a_store_that_is_away_at_the_end_takes_no_result_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(monkeypatch, tmp_path, nothing, Storage(tmp_path))
    assert f"{tmp_path / '.tune'} stays: AWS Error NETWORK_CONNECTION" in caplog.text


def test_a_store_that_is_away_at_the_beginning_is_told_in_a_line(tmp_path: Path) -> None:
    setup = Setup(TOY, tmp_path, 0, 1.0, 0.0, storage=Away(tmp_path))
    callback: Any = None
    with pytest.raises(UserError, match="runs cannot be kept here: AWS Error NETWORK_CONNECTION"):
        run_trials(callback, setup, Opening((), 1, False, tmp_path / ".tune"), callback, 1)


def test_an_opening_that_is_killed_for_memory_is_told_in_a_line() -> None:
    ledger: Any = None
    callback = StoreCallback(ledger, nothing, nothing, nothing)

    def lost(said: str) -> None:
        trial: Any = SimpleNamespace(config={"specs": []}, get_error=lambda: said)
        callback.on_trial_error(0, [], trial)

    with pytest.raises(UserError, match=r"^what the trials share could not be made: .* run out of memory$"):
        lost("Failure # 1\nThe actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc")
    assert isinstance(callback.error, UserError)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        lost("Traceback\nZeroDivisionError: oops")

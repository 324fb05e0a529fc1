"""A connection to Ray, embedded or at an address, that keeps quiet."""

import logging
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from limbeck.cluster.forkserver import forkserver
from limbeck.cluster.slots import Resources
from limbeck.errors import Problem, UserError
from limbeck.memory import HUGE_PAGES

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Tune's own snapshots would be pickles that nobody reads: a sweep goes on from the results.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
_LOUD = (
    "ray",
    "ray.tune",
    "ray.train",
    "ray.data",
    # These set levels of their own.
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
OPEN = "anybody who reaches it can run code: start it with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN on all nodes"
"""What to do about a cluster that asks for no token."""
IMPORTS = ("limbeck.training", "transformers.modeling_utils")
IMPORTS_OF_RAY = ("limbeck.cluster.undrawn",)
_OBJECT_STORE_BYTES = 256 * 2**20
"""Trials share files, not objects; Ray would take 30 % of the memory."""


@contextmanager
def connected(address: str | None, *, fork: bool = False) -> Iterator[None]:
    """Start Ray on this machine, or connect to the cluster at `address`; leave nothing behind at the end.

    With `fork` the workers of a Ray on this machine come from one process that has done a trial's imports.
    A process that is connected already stays so. Tokens are Ray's business: it reads them from its own environment
    variables or its file, and they are never turned off here.
    """
    if ray.is_initialized():
        with environment(_QUIET), quiet():
            yield
        return
    with environment(_QUIET), quiet(), _workers(fork and address is None) as python:
        try:
            folder = _start(address, python)
            with environment({"RAY_ADDRESS": ray.get_runtime_context().gcs_address}), _polite_to_sigterm():
                yield
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _workers(fork: bool) -> AbstractContextManager[str | None]:
    """The command that starts workers; None for Ray's own."""
    return forkserver(IMPORTS, IMPORTS_OF_RAY, HUGE_PAGES) if fork else nullcontext()


def _start(address: str | None, python: str | None) -> Path | None:
    """Return the folder of a cluster of our own, None on somebody else's."""
    common: dict[str, Any] = {
        "namespace": f"limbeck-{uuid.uuid4().hex[:8]}",
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
    }
    if address is None:
        if python:
            common["runtime_env"] = {"py_executable": python}
        own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            context = ray.init(address="local", **own, **common)
        except Exception as error:
            # Ray waits half a minute for its own processes, and then raises what has no class of its own.
            if "timed out during startup" not in str(error):
                raise
            what = "did not start within the half minute that it gives itself: is this machine busy? Try again later"
            raise UserError(Problem("Ray", what)) from None
        _close_token_file()
        return Path(context.address_info["session_dir"])
    # What a job's own environment sets, Ray would not let its driver set again.
    heap = {name: value for name, value in HUGE_PAGES.items() if name not in os.environ}
    try:
        ray.init(address=address, runtime_env={"env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": "0", **heap}}, **common)
    except AuthenticationError:
        raise UserError(refused_token(address)) from None
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        ask = "is it up, and is RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, the cluster's?"
        raise UserError(Problem("--address", f"no Ray cluster answers at {address} ({said[0]}): {ask}")) from None
    return None


def _close_token_file() -> None:
    """Keep the token that Ray makes for its user from other users of this machine: Ray leaves it readable."""
    # Somebody else's file stays as it is.
    with suppress(OSError):
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def refused_token(address: str) -> Problem:
    """Return what to do about a cluster that wants another token, or one at all."""
    what = f"the cluster at {address} refuses the token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's"
    return Problem("--address", f"{what} (on its head: ~/.ray/auth_token)")


def sends_tokens() -> bool:
    """Say whether this process sends a token to Ray; one that does not is let in by open clusters only."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return bool(is_token_auth_enabled())


def nodes() -> list[Resources]:
    """Return what each living node has in all."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or unset them by None, for this process and its children; put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _polite_to_sigterm() -> Iterator[None]:
    """Leave in good order when the machine is taken away; Ray's own handler prints a stack and dies."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(_: int, __: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Ray's loggers: what users need to know is said by the sweep."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

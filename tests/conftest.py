"""What every test shares: the user's cache of pinned archives, and no hub."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

# Read once, when the hub's library is first imported, which the collection of some tests does already.
os.environ["HF_HUB_OFFLINE"] = "1"
# Threads wait for each other by turning in circles: at the size of a toy that takes most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import platformdirs
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from limbeck.cache import Cache
from postgres import Server

_CLUSTER = "tests/cluster/"


@pytest.fixture(scope="session")
def cache() -> Cache:
    """The cache of the user, so that archives are fetched once and not once a run."""
    return Cache(Path(os.environ.get("LIMBECK_CACHE") or platformdirs.user_cache_path("limbeck")))


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server of our own; skipped where none is installed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path_factory.mktemp("postgresql"), port)
    server.start()
    yield server
    server.stop()


class _ByFile(LoadScopeScheduling):
    """Which tests share a process under `--numprocesses`: those of a file, as they share its fixtures.

    Tests of clusters are all one process's: they start and kill nodes, and two of them at once would take each other's
    processors away.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _CLUSTER if file.startswith(_CLUSTER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    """Tell pytest-xdist how to spread tests over processes."""
    return _ByFile(config, log)

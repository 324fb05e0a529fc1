"""What every test shares: the user's cache of pinned archives, and no hub."""

import os
from pathlib import Path

# Read once, when the hub's library is first imported, which the collection of some tests does already.
os.environ["HF_HUB_OFFLINE"] = "1"
# Threads wait for each other by turning in circles: at the size of a toy that takes most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import platformdirs
import pytest

from limbeck.cache import Cache


@pytest.fixture(scope="session")
def cache() -> Cache:
    """The cache of the user, so that archives are fetched once and not once a run."""
    return Cache(Path(os.environ.get("LIMBECK_CACHE") or platformdirs.user_cache_path("limbeck")))

"""Ray's workers are processes of their own: they find the package and the toys by PYTHONPATH."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limbeck.cluster import session
from limbeck.cluster.sweep import Site
from limbeck.plan import Plan, parse_plan

HERE = Path(__file__).parent
WORKERS_PATH = os.pathsep.join([str(HERE.parent.parent / "platform"), str(HERE)])
sys.path.insert(0, str(HERE))

PLAN = """
name: toy
base:
  task: movies
  method: {name: mate, mask_rate: 0.3}
  training: {updates: 8, evaluations: 4, rows: 1, learning_rate: 1e-5}
objective: {retention: max}
"""


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """The toy plan with more lines to it, and overrides."""
    return lambda more="", *overrides: parse_plan(PLAN + more, "p.yaml", overrides)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "runs", f"sqlite:///{tmp_path / 'runs' / 'limbeck.db'}", tmp_path / "cache")


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of this process, started as `limbeck sweep` does: sweeps use the connection they find."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", WORKERS_PATH)
    patch.setenv("HF_HUB_OFFLINE", "1")
    with session.connected(None, fork=True):
        yield
    patch.undo()

"""Freed memory stays with the process until it is given back."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
import numpy as np
from limbeck.memory import give_back, keep_freed

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

keep_freed()
before = resident()
block = np.ones(100 * 2**20, np.uint8)
held = resident()
del block
kept = resident()
give_back()
print(held - before, kept - before, resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_freed_blocks_are_kept_until_they_are_given_back() -> None:
    platform = Path(__file__).parent.parent / "platform"
    run = subprocess.run(
        [sys.executable, "-c", CODE], env={"PYTHONPATH": str(platform)}, capture_output=True, text=True
    )
    held, kept, after = (float(word) for word in run.stdout.split())
    assert held > 95
    assert kept > 95
    assert after < 30

"""Freed memory stays with the process until there is too much of it, and so do kernels."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck import memory

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
CODE = """
import os, sys
import numpy as np
from limbeck.memory import give_back, held, keep_freed

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

keep_freed()
before, mine = resident(), held()
block = np.ones(100 * 2**20, np.uint8)
full, grown = resident(), (held() - mine) / 2**20
del block
kept = resident()
give_back()
print(full - before, grown, kept - before, resident() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_freed_blocks_are_kept_until_they_are_given_back() -> None:
    platform = Path(__file__).parent.parent / "platform"
    run = subprocess.run(
        [sys.executable, "-c", CODE], env={"PYTHONPATH": str(platform)}, capture_output=True, text=True
    )
    full, grown, kept, after = (float(word) for word in run.stdout.split())
    assert full > 95
    assert grown == pytest.approx(full, abs=10), "none of it is shared"
    assert kept > 95
    assert after < 30


HEAP = """
from limbeck.memory import keep_freed
keep_freed()
block = bytearray(100 * 2**20)
print("hg" in open("/proc/self/smaps").read().split("[heap]")[1].split("VmFlags:")[1].splitlines()[0].split())
"""


def glibc() -> tuple[int, ...]:
    """Version of the C library; empty for another one."""
    try:
        return tuple(int(part) for part in (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1].split("."))
    except (AttributeError, IndexError, ValueError):
        return ()


@pytest.mark.skipif(glibc() < (2, 35), reason="a C library without huge pages")
@pytest.mark.skipif("[never]" in HUGE.read_text() if HUGE.exists() else True, reason="a system without huge pages")
@pytest.mark.parametrize("environment, huge", [({}, "False"), (memory.HUGE_PAGES, "True")])
def test_a_heap_asks_for_huge_pages(environment: dict[str, str], huge: str) -> None:
    platform = Path(__file__).parent.parent / "platform"
    run = subprocess.run(
        [sys.executable, "-c", HEAP], env={"PYTHONPATH": str(platform), **environment}, capture_output=True, text=True
    )
    assert run.stdout.strip() == huge


SHAPES = """
import os
from limbeck.memory import few_kernels
few_kernels()
import torch
from limbeck.memory import held
torch.set_num_threads(1)

def multiply(sizes):
    for size in sizes:
        torch.zeros(size, 64, dtype=torch.bfloat16) @ torch.zeros(64, 64, dtype=torch.bfloat16)
    return held() / 2**20

full = multiply(range(1, 200))
print(multiply(range(200, 600)) - full)
"""


def test_products_of_ever_new_shapes_do_not_fill_the_memory() -> None:
    platform = Path(__file__).parent.parent / "platform"
    run = subprocess.run(
        [sys.executable, "-c", SHAPES], env={"PYTHONPATH": str(platform)}, capture_output=True, text=True
    )
    # 260 MiB without a bound, where the processor has kernels of its own for bfloat16.
    assert float(run.stdout) < 60


def test_what_the_user_says_of_kernels_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", found := {"LRU_CACHE_CAPACITY": "7"})
    memory.few_kernels()
    assert found == {"LRU_CACHE_CAPACITY": "7", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128"}


class Looked:
    """A process that has what it is told to have, and counts what is given back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.given = 0, 0
        self.freed = memory.Freed()
        monkeypatch.setattr(memory, "held", lambda: self.now)
        monkeypatch.setattr(memory, "trim", self._trim)

    def _trim(self) -> None:
        self.given += 1

    def steps(self, phase: str, *held: int) -> int:
        """Take steps; return how many times something was given back."""
        before = self.given
        for self.now in held:
            self.freed.after(phase)
        return self.given - before


def test_holes_are_given_back_when_they_have_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    assert looked.steps("student", *[100] * 50, *[107] * 50) == 0
    assert looked.steps("student", 109) == 1
    assert looked.steps("student", *[100] * 50) == 0


def test_what_steps_really_need_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    looked.steps("student", *[100] * 50)
    assert looked.steps("student", *[300] * 500) == 1, "after that 300 is the usual"


def test_blocks_are_not_given_back_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    assert looked.steps("student", *[100, 200] * 100) == 100, "a step after which all is new sets what is usual"


def test_each_phase_is_compared_with_its_like(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    assert looked.steps("student", *[100] * 30) + looked.steps("generator", *[300] * 30) == 0
    assert looked.steps("student", 300) == 1, "the generator's blocks are of no use to the student"

"""How the C library keeps memory for this process."""

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST = 2**31 - 1
_STATUS = Path("/proc/self/statm")
_KERNELS = 128
"""More than one step has shapes of matrix products: about 80, however many layers there are."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Environment in which a process has its heap in huge pages, where the system gives them: it is read when one starts.

Blocks that were handed back are then taken anew by one page fault for 2 MiB, instead of 512.
"""


def keep_freed() -> None:
    """Keep what is freed for the next use, instead of handing large blocks back to the system each time.

    A step frees and takes many blocks of tens of megabytes (a vocabulary's scores, the gradient of its table). A fresh
    one costs a page fault every 4 KiB, which was more than the arithmetic done in it: see docs/performance.md.
    """
    # Only glibc has it; others have habits of their own.
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _MOST)
        library.mallopt(_TRIM_THRESHOLD, _MOST)


def few_kernels() -> None:
    """Bound what is kept of matrix products that were done: call it before the first one.

    oneDNN and torch each keep the machine code of the last 1,024 shapes, a quarter of a megabyte apiece, and batches of
    many lengths have thousands of shapes. What a user set stays.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(_KERNELS))


def give_back() -> None:
    """Return to the system what is free: cycles wait for Python's collector, and freed blocks stay with the C library.

    Measured over two trials of a 3-layer student in one process: 1,720 MiB without it, 817 MiB with it.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Return freed blocks to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def held() -> int:
    """Bytes of memory that this process alone has; 0 where the system does not tell."""
    try:
        _, resident, shared, *_ = _STATUS.read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE


class Freed:
    """Freed blocks that steps leave behind: batches of many lengths leave holes that no later block fits.

    They are returned once the process has `MORE` times what it had after the first step since they last were; steps of
    one phase are compared with their like. Trials on one machine seldom hold their longest batch at the same time, so
    two take less together the sooner each returns what it does not use: docs/performance.md has what that costs.
    """

    MORE = 1.08

    def __init__(self) -> None:
        self._usual: dict[str, int] = {}

    def after(self, phase: str) -> None:
        """Look after a step of a phase."""
        now = held()
        if now > self.MORE * self._usual.setdefault(phase, now):
            trim()
            self._usual.clear()

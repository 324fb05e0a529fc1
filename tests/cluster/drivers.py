"""Drivers of sweeps in processes of their own, which a test may break off."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from conftest import WORKERS_PATH


@contextmanager
def driven(*words: str, environment: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run `drive.py` with these words; `environment` takes the place of this process's own."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "drive.py"), *words],
        env={**(os.environ if environment is None else environment), "PYTHONPATH": WORKERS_PATH},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has SIGINT ignored, and so would the driver.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()

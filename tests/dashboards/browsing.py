"""A browser, and dashboards served as people serve them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .test_command import free_port, wait_for

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MUST_RUN = os.environ.get("CI") == "true"
"""What every change must pass installs a browser: there these tests fail where it is missing."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PATIENCE_MS = 60_000
needs_browser = [
    pytest.mark.skipif(CHROMIUM is None and not MUST_RUN, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.timeout(300),
]


@contextmanager
def served(home: Path, port: int | None = None, at: Path | None = None) -> Iterator[str]:
    """The address of a dashboard on the runs in `home`, its command given in the folder `at`."""
    port = port or free_port()
    command = [sys.executable, "-m", "limbeck.cli", "dashboard", "--home", str(home), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=at) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)

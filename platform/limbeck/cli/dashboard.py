"""`limbeck dashboard`: the pages that people leave open."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from limbeck.cli.places import Commands, Places, add_command, add_places, places
from limbeck.cli.ports import HERE, LOOPBACK, free_port
from limbeck.resources import dashboards

PORT = 8501


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "dashboard",
        "serve the dashboard, on this machine alone unless told",
        _dashboard,
        [
            "limbeck dashboard",
            "limbeck dashboard --home runs --port 8600",
            "limbeck dashboard --database postgresql+psycopg://reader@db/limbeck",
        ],
    )
    parser.add_argument("--port", type=int, metavar="P", help=f"port to listen on (default: {PORT} or the next free)")
    parser.add_argument("--address", default=HERE, metavar="A", help=f"address to listen on (default {HERE})")
    parser.add_argument("--open", action="store_true", help="show it in this machine's browser at once")
    add_places(parser)


def _dashboard(arguments: argparse.Namespace) -> int:
    where = places(arguments)
    port = free_port(arguments.address, arguments.port, PORT)
    shown = f"[{arguments.address}]" if ":" in arguments.address else arguments.address
    print(f"limbeck dashboard: http://{shown}:{port} (Ctrl-C stops it)", file=sys.stderr, flush=True)
    if arguments.address not in LOOPBACK and not _signs_in():
        print("warning: everybody who can reach this address can read the results", file=sys.stderr, flush=True)
    command = server_command(arguments.address, port, arguments.open)
    before = signal.signal(signal.SIGTERM, _leave)
    server = subprocess.Popen(command, env=environment(where))
    try:
        return server.wait()
    except KeyboardInterrupt:
        # The terminal told the server too. Stopping it is how it is meant to end.
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        if server.poll() is None:
            server.terminate()
            server.wait()


def _leave(number: int, _: object) -> None:
    """End by an exception, so that the server goes with this process."""
    sys.exit(128 + number)


def server_command(address: str, port: int, show: bool = False) -> list[str]:
    """Return the command that serves the pages."""
    options = {
        "server.address": address,
        "server.port": str(port),
        "server.headless": "false" if show else "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "logger.level": "warning",
        "logger.hideWelcomeMessage": "true",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, str(dashboards() / "serve.py"), *flags]


def environment(where: Places) -> dict[str, str]:
    """Return the server's environment: the results' address goes there, not into a command line that others see."""
    return {**os.environ, "LIMBECK_DATABASE": where.database, "LIMBECK_HOME": where.home}


def _signs_in() -> bool:
    """Say whether Streamlit's secrets name an OpenID Connect provider."""
    files = (Path(".streamlit") / "secrets.toml", Path.home() / ".streamlit" / "secrets.toml")
    return any("auth" in _secrets(path) for path in files if path.is_file())


def _secrets(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Streamlit cannot read it either.
        return {}

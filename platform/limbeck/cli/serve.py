"""`limbeck serve`: a model behind HTTP."""

import argparse
import signal
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from limbeck.cli.export import usable_threads
from limbeck.cli.places import Commands, add_command
from limbeck.cli.ports import HERE, LOOPBACK, free_port
from limbeck.errors import Problem, UserError

PORT = 8000


def register(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "serve",
        "answer requests over HTTP, on this machine alone unless told",
        _serve,
        [
            "limbeck serve best",
            "curl -s localhost:8000/predict -H 'Content-Type: application/json' -d '{\"text\": \"a fine film\"}'",
            "limbeck serve best --port 9000 --replicas 2",
        ],
    )
    parser.add_argument("model", metavar="DIR", type=Path, help="an export, or any Hugging Face folder")
    parser.add_argument("--port", type=int, metavar="P", help=f"port to listen on (default: {PORT} or the next free)")
    parser.add_argument("--address", default=HERE, metavar="A", help=f"address to listen on (default {HERE})")
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="processes that hold the model (1)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads of each (default: all, shared)")


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.replicas < 1:
        raise UserError(Problem("--replicas", f"must be 1 or more, got {arguments.replicas}"))
    threads = arguments.threads and usable_threads(arguments.threads)
    threads = threads or max(1, usable_threads(None) // arguments.replicas)
    if find_spec("fastapi") is None:
        raise UserError(Problem("serve", "needs Ray Serve; pip install 'limbeck[serve]'"))
    from limbeck.predictor import Predictor

    Predictor(arguments.model)  # a folder that does not load is told here, in one line
    port = free_port(arguments.address, arguments.port, PORT)
    from limbeck.serving.limits import Limits
    from limbeck.serving.server import Place, served

    shown = f"[{arguments.address}]" if ":" in arguments.address else arguments.address
    if arguments.address not in LOOPBACK:
        print("warning: everybody who can reach this address can ask this model", file=sys.stderr, flush=True)
    asked_to_stop = threading.Event()
    with served(arguments.model, Place(arguments.address, port, arguments.replicas, threads), Limits()):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked_to_stop.set())
        print(f"limbeck serve: http://{shown}:{port} (Ctrl-C stops it)", file=sys.stderr, flush=True)
        asked_to_stop.wait()
        print("stopping: requests under way are answered first", file=sys.stderr, flush=True)
    return 0

"""Starting and stopping the server: Ray on this machine, Serve's proxy before it, replicas behind."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray import serve
from ray.serve.config import HTTPOptions

from limbeck.cluster.session import connected, environment
from limbeck.serving.app import Classifier
from limbeck.serving.limits import Limits

NAME = "limbeck"
_QUIET = {
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # One event loop for a replica's requests: each hop between two costs time on few processors.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


@dataclass(frozen=True)
class Place:
    """Where the server listens and what it may use."""

    host: str
    port: int
    replicas: int
    threads: int
    """Processor threads of each replica."""


@contextmanager
def served(folder: Path, place: Place, limits: Limits) -> Iterator[None]:
    """Serve a model's folder; on leaving, let the requests under way end and stop everything that was started."""
    with tempfile.TemporaryDirectory(prefix="limbeck-serve-") as counts, environment(_QUIET), connected(None):
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host=place.host, port=place.port),
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        deployment = serve.deployment(
            Classifier,
            name=NAME,
            num_replicas=place.replicas,
            max_ongoing_requests=limits.ongoing,
            max_queued_requests=limits.waiting,
            backpressure_config={"status_code": 429, "retry_after_s": 1},
            ray_actor_options={"num_cpus": 0},
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=10.0,
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        try:
            application = deployment.bind(str(folder.absolute()), place.threads, limits, counts)
            serve.run(application, name=NAME, route_prefix="/")
            yield
        finally:
            serve.shutdown()

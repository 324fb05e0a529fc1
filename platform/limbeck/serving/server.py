"""Starting and stopping the server: Ray on this machine, and replicas that listen on one port."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ray import serve

from limbeck.cluster.session import connected, environment
from limbeck.serving.limits import Limits
from limbeck.serving.replica import Replica

NAME = "limbeck"
_SETTINGS = {
    # Ray lets its workers step back for everybody else (15); callers wait for these.
    "RAY_worker_niceness": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # One event loop in a replica: two would hand each other what one can do.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
_LOGGING = {"log_level": "WARNING", "enable_access_log": False}


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
    with (
        ExitStack() as afterwards,
        tempfile.TemporaryDirectory(prefix="limbeck-serve-") as counts,
        environment(_SETTINGS),
        connected(None),
    ):
        serve.start(proxy_location="Disabled", logging_config=_LOGGING)
        deployment = serve.deployment(
            Replica,
            name=NAME,
            num_replicas=place.replicas,
            max_ongoing_requests=limits.waiting,
            ray_actor_options={"num_cpus": 0},
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=10.0,
            logging_config=_LOGGING,
        )
        try:
            listen = (place.host, place.port)
            application = deployment.bind(str(folder.absolute()), place.threads, limits, counts, listen)
            serve.run(application, name=NAME, route_prefix=None)
            yield
        finally:
            # Serve's controller ends by killing itself; that its last call failed, Ray prints until it is disconnected.
            for redirect in (redirect_stdout, redirect_stderr):
                afterwards.enter_context(redirect(io.StringIO()))
            serve.shutdown()

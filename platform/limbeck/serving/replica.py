"""A replica: what Ray Serve starts, watches, replaces and stops, and what callers reach."""

import asyncio
import socket

import uvicorn

from limbeck.serving.app import Classifier
from limbeck.serving.limits import Limits
from limbeck.serving.patience import PatientProtocol

_IDLE_SECONDS = 65
"""Until a connection that asks nothing is closed: longer than proxies before us keep one for their next request."""
_DRAIN_SECONDS = 8


class Replica:
    """A classifier that listens on a port, which all replicas share.

    Through Serve's proxy a request takes 3 ms more of processor time, three times what a small student needs for it.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, folder: str, threads: int, limits: Limits, counts_folder: str, place: tuple[str, int]
    ) -> None:
        settings = uvicorn.Config(
            Classifier(folder, threads, limits, counts_folder),
            http=PatientProtocol,
            interface="asgi3",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        self._server = uvicorn.Server(settings)
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        listener = socket.create_server(place, family=family, backlog=limits.waiting, reuse_port=True)
        self._serving = asyncio.create_task(self._server.serve([listener]))

    async def __del__(self) -> None:
        """Take no more requests and answer those under way; Serve awaits it."""
        self._server.should_exit = True
        await self._serving

    async def check_health(self) -> None:
        """Tell Serve whether this replica still listens."""
        if self._serving.done():
            raise RuntimeError("the server has ended")

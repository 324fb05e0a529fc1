"""Sends the program that shows pages compressed: five megabytes become one and a half, which a first visit waits for.

Streamlit leaves its files as they are, since they would be compressed anew for everyone who asks. Here each is
compressed once and kept; their names change with what is in them.
"""

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Packed:
    """Answers for scripts and styles from what it compressed before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(app)
        self._kept: dict[str, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if "/static/" not in path or not path.endswith((".js", ".css")) or not _whole_and_packed(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        answer = self._kept.get(path, [])
        if not answer:

            async def keep(message: Message) -> None:
                answer.append(message)

            await self._packing(scope, receive, keep)
            if answer[0]["status"] == 200:
                self._kept[path] = answer
        for message in answer:
            # A copy, for whoever is between here and the browser may write headers into it.
            await send(dict(message))


def _whole_and_packed(asked: Headers) -> bool:
    """Whether a request takes a compressed file, all of it, whatever it may have."""
    plain = {"range", "if-none-match", "if-modified-since"}
    return "gzip" in asked.get("accept-encoding", "") and not plain & set(asked)

"""How long a connection may take over a request: callers that dawdle, or whose headers never end, are let go."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Literal, final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from limbeck.serving.limits import Limits

_LIMITS = Limits()
_GRACE_SECONDS = 1.0
"""For the replica to say itself that a body is late, and for a refused caller to stop sending and read why."""


@final
class PatientProtocol(HttpToolsProtocol):
    """uvicorn's connection, with an end to its patience: by itself it waits for headers without end, of any size.

    Whole headers must be there within `head_seconds` and not exceed `head_bytes` by more than one read, and the whole
    body must follow within `body_seconds`. Others get 408 or 431 where no answer is under way, and lose the connection.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._part: Literal["none", "head", "body", "refused"] = "none"
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect("none", _LIMITS.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._part == "refused":
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._part == "head" and self._head_bytes > _LIMITS.head_bytes:
            self._refuse(431, f"the headers must not exceed {_LIMITS.head_bytes:,} bytes")
        elif self._part == "none" and self._timer is None and not self._busy() and not self.transport.is_closing():
            # Blank lines between requests end uvicorn's own wait, and begin no request.
            self._expect("none", _LIMITS.head_seconds)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect("head", _LIMITS.head_seconds)
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._expect("body", _LIMITS.body_seconds + _GRACE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._part = "none"
        self._forget()
        super().on_message_complete()

    def _expect(self, part: Literal["none", "head", "body"], seconds: float) -> None:
        self._forget()
        self._part = part
        self._timer = self.loop.call_later(seconds, self._too_late)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._part == "body" or self._busy():
            # The replica has answered, or its answer belongs to another request: nothing can be said here.
            self.transport.close()
        else:
            self._refuse(408, f"the headers did not arrive within {_LIMITS.head_seconds:g} seconds")

    def _refuse(self, status: int, reason: str) -> None:
        """Say why and stop listening; closing at once would take the answer from a caller that still sends."""
        self._forget()
        self._part = "refused"
        body = json.dumps({"error": reason}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self._timer = self.loop.call_later(_GRACE_SECONDS, self.transport.close)

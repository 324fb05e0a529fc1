"""Connections that dawdle, or whose headers never end, are let go with a reason; all others are served as before."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from limbeck.serving import patience
from limbeck.serving.limits import Limits
from limbeck.serving.patience import PatientProtocol

SHORT = Limits(head_seconds=0.3, body_seconds=0.3)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LIMITS", SHORT)
    monkeypatch.setattr(patience, "_GRACE_SECONDS", 0.2)


async def echo(_: Any, receive: Any, send: Any) -> None:
    """Answers once the whole body has come."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await answer(send)


async def early(_: Any, receive: Any, send: Any) -> None:
    """Answers before the body has come."""
    await answer(send)


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def talk(talk: Talk, app: Any = echo) -> None:
    """Let a caller talk with a server of one app."""

    @asynccontextmanager
    async def server() -> Any:
        config = uvicorn.Config(app, http=PatientProtocol, lifespan="off", timeout_keep_alive=2, log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: PatientProtocol(config, state, {}), "127.0.0.1", 0)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()

    async def run() -> None:
        async with asyncio.timeout(10), server() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await talk(reader, writer)
            finally:
                writer.close()

    asyncio.run(run())


def took(started: float) -> float:
    return asyncio.get_running_loop().time() - started


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nX-Slow: a", b"\r\n"], ids=["nothing", "half", "blank"])
def test_headers_that_do_not_come(said: bytes) -> None:
    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started = asyncio.get_running_loop().time()
        writer.write(said)
        told = await reader.read()
        assert told.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b'{"error": "the headers did not arrive within 0.3 seconds"}' in told
        assert 0.2 < took(started) < 20

    talk(dawdle)


def test_a_byte_now_and_then_wins_no_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started = asyncio.get_running_loop().time()
        told = asyncio.create_task(reader.read())
        for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if told.done():
                break
        assert b" 408 " in await told
        assert took(started) < 20

    talk(drip)


def test_headers_without_end_are_refused_to_one_who_goes_on_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LIMITS", Limits(head_bytes=2000))
    monkeypatch.setattr(patience, "_GRACE_SECONDS", 2.0)

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = asyncio.create_task(reader.readuntil(b"}"))
        writer.write(b"GET / HTTP/1.1\r\n")
        while not told.done():
            writer.write(b"X-Much: " + b"a" * 1000 + b"\r\n")
            await asyncio.sleep(0.001)
        assert (await told).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b"2,000 bytes" in await told

    talk(flood)


@pytest.mark.parametrize("app", [echo, early])
def test_a_body_that_does_not_come_ends_the_connection(app: Any) -> None:
    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started = asyncio.get_running_loop().time()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{")
        told = await reader.read()
        assert told.startswith(b"HTTP/1.1 200") if app is early else told == b""
        assert 0.4 < took(started) < 20

    talk(dawdle, app)


def test_requests_follow_each_other_on_one_connection() -> None:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pause, request in (
            (0.0, GET),
            (0.5, GET),  # longer than headers may take: between requests uvicorn's own wait counts
            (0.0, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000),
            (0.0, b"\r\n" + GET),
        ):
            await asyncio.sleep(pause)
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
        writer.write(GET + GET)
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")

    talk(ask)

"""Who calls the server in `bench_serve.py`: one who asks at a steady rate, and one who sends what must be refused.

`python callers.py {"role": "good" or "bad", "url": …}`, apart from limbeck, whose imports would take the processor
from the server.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np

_PATIENCE_SECONDS = 30.0
_SLOW_AT_ONCE = 10
"""Connections that send one byte a second, of each kind."""
_JSON = "Content-Type: application/json"


def main(asked: dict[str, Any]) -> None:
    """Do what is asked and print what was found, as JSON."""
    if asked["role"] == "good":
        texts = json.loads(Path(asked["texts"]).read_text())
        print(json.dumps(asyncio.run(steady(asked["url"], texts, asked["requests"], asked["rate"]))))
    else:
        print(json.dumps(asyncio.run(hostile(asked["url"], asked["seconds"]))))


async def steady(url: str, texts: list[str], requests: int, rate: float) -> dict[str, Any]:
    """Send `requests` at `rate` a second, each when it is due; return what its callers saw."""
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    times: list[float] = []
    late: list[float] = []
    trouble: Counter[str] = Counter()
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def one(number: int, due: float) -> None:
            late.append(time.perf_counter() - due)
            try:
                async with session.post(f"{url}/predict", data=bodies[number % len(bodies)], headers=headers) as answer:
                    found = json.loads(await answer.read())
                    if answer.status == 200 and len(found["predictions"]) == 1:
                        times.append(time.perf_counter() - due)
                    else:
                        trouble[f"status {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                trouble[type(error).__name__] += 1

        started = time.perf_counter() + 0.5
        processor = time.process_time()
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                due = started + number / rate
                if (pause := due - time.perf_counter()) > 0:
                    await asyncio.sleep(pause)
                group.create_task(one(number, due))
            sent = time.perf_counter() - started
    shares = np.percentile(1000 * np.array(times or [np.nan]), [50, 95, 99, 100])
    return {
        **dict(zip(("p50", "p95", "p99", "max"), shares.tolist(), strict=True)),
        "answered": len(times),
        "lost": requests - len(times),
        "trouble": dict(trouble),
        "rate": requests / sent,
        "late_ms": 1000 * max(late),
        "processor_seconds": time.process_time() - processor,
    }


Send = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def hostile(url: str, seconds: float) -> dict[str, dict[str, int]]:
    """Send bad requests of every kind for some seconds; return the answers by kind: a status, or how else it ended."""
    place = urlsplit(url)
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    end = time.perf_counter() + seconds

    async def again_and_again(kind: str, send: Send, pause: float) -> None:
        while time.perf_counter() < end:
            found[kind][await _status(str(place.hostname), int(place.port or 80), send)] += 1
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for kind, send in _quick().items():
            group.create_task(again_and_again(kind, send, 0.5))
        for kind, send in {"slow head": _slow_head, "slow body": _slow_body}.items():
            for _ in range(_SLOW_AT_ONCE):
                group.create_task(again_and_again(kind, send, 0.1))
    return {kind: dict(answers) for kind, answers in found.items()}


async def _status(host: str, port: int, send: Send) -> str:
    """Send on a new connection until the server answers; return the answer's status."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return type(error).__name__
    sending = asyncio.create_task(send(writer))
    try:
        line = await asyncio.wait_for(reader.readline(), _PATIENCE_SECONDS)
        return line.split()[1].decode() if line.startswith(b"HTTP/") else "closed without an answer"
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()


def _quick() -> dict[str, Send]:
    texts = json.dumps({"texts": ["a"] * 1000})
    post = f"POST /predict HTTP/1.1\r\nHost: a\r\n{_JSON}\r\n"
    raw = {
        "no HTTP": "now\r\nthis is no request\r\n\r\n",
        "another path": "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
        "another method": "GET /predict HTTP/1.1\r\nHost: a\r\n\r\n",
        "no JSON": _request("{"),
        "another shape": _request('{"text": 7}'),
        "half a surrogate pair": _request('{"text": "\\ud800"}'),
        "brackets 100,000 deep": _request("[" * 100_000),
        "1,000 texts": _request(texts),
        "a text of 200,000 characters": _request(json.dumps({"text": "x" * 200_000})),
        "another content type": f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(texts)}\r\n\r\n{texts}",
        "a body of 1 GB, announced": f"{post}Content-Length: 1000000000\r\n\r\n",
        "a body of 4 MB, in chunks": f"{post}Transfer-Encoding: chunked\r\n\r\n"
        + f"{0x10000:x}\r\n{'x' * 0x10000}\r\n" * 64,
        "headers of 1 MB": "GET / HTTP/1.1\r\nHost: a\r\n" + f"X-Much: {'x' * 1000}\r\n" * 1000 + "\r\n",
        "one header of 1 MB": f"GET / HTTP/1.1\r\nHost: a\r\nX-Long: {'x' * 1_000_000}\r\n\r\n",
    }
    return {kind: _at_once(text.encode()) for kind, text in raw.items()}


def _request(body: str) -> str:
    return f"POST /predict HTTP/1.1\r\nHost: a\r\n{_JSON}\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def _at_once(data: bytes) -> Send:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return send


async def _slow_head(writer: asyncio.StreamWriter) -> None:
    await _drip(writer, f"POST /predict HTTP/1.1\r\nHost: a\r\n{_JSON}\r\nX-Slow: {'x' * 100}\r\n")


async def _slow_body(writer: asyncio.StreamWriter) -> None:
    writer.write(f"POST /predict HTTP/1.1\r\nHost: a\r\n{_JSON}\r\nContent-Length: 100\r\n\r\n".encode())
    await _drip(writer, '{"text": "' + "x" * 88 + '"}')


async def _drip(writer: asyncio.StreamWriter, text: str) -> None:
    for byte in text.encode():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

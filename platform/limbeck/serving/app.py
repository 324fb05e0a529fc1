"""A loaded model behind HTTP: texts of many requests are classified together."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from limbeck.manifest import read_manifest
from limbeck.predictor import Predictor, Row
from limbeck.serving.asked import Refused, check_headers, read_body, read_texts
from limbeck.serving.counts import Counts
from limbeck.serving.limits import Limits

BATCH_TEXTS = 32
"""Texts the model takes at once."""
_TOGETHER = 4 * BATCH_TEXTS
"""Texts of several requests that are classified together; a request of as many, or more, goes alone."""
_LINGER_SECONDS = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Answer = dict[str, Any]
log = logging.getLogger(__name__)


class _Body:
    """A request's body as it arrives."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._over = receive, False

    async def next(self) -> Message:
        """The next part."""
        message = await self._receive()
        self._over = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def rest(self) -> None:
        """Let a refused caller say the rest, for a moment: an answer that comes while it still sends is lost on it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._over:
                    await self.next()


class Classifier:
    """Answers `POST /predict`, and `GET` of `/`, `/health` and `/metrics`, as an ASGI application."""

    def __init__(self, folder: str, threads: int, limits: Limits, counts_folder: str) -> None:
        self._limits, self._counts, self._waiting = limits, Counts(Path(counts_folder)), 0
        # Threads that wait busily would take the processor from whoever reads requests, and from the other replicas.
        self._predictor = Predictor(Path(folder), threads=threads, spin=False)
        manifest = read_manifest(Path(folder)) or {}
        self._columns = self._predictor.columns or 1
        self._about = {
            "model": Path(folder).name,
            "format": manifest.get("format", "hf"),
            "task": manifest.get("task", {}).get("name"),
            "classes": list(self._predictor.classes),
            "runtime": self._predictor.runtime,
            "limits": asdict(limits),
            "ask": 'POST /predict {"texts": [TEXT, …]}',
        }
        self._predictor.logits([["warm"]] * self._columns)
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/": ("GET", self._describe),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._metrics),
            "/predict": ("POST", self._predict),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; refusals and failures are JSON with an `error`."""
        started, body = time.perf_counter(), _Body(receive)
        self._counts.ongoing.inc()
        try:
            response = await self._answer(Request(scope, body.next))
        except Refused as refusal:
            if refusal.status != 408:
                await body.rest()
            response = JSONResponse({"error": refusal.reason}, refusal.status, refusal.headers)
        except ClientDisconnect:
            response = Response(status_code=499)
        except Exception:
            log.exception("a request could not be answered")
            response = JSONResponse({"error": "the server failed; its log says why"}, 500)
        finally:
            self._counts.ongoing.dec()
        self._counts.requests.labels(str(response.status_code)).inc()
        self._counts.seconds.observe(time.perf_counter() - started)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        found = self._routes.get(request.url.path)
        if found is None:
            raise Refused(404, f"nothing is at {request.url.path[:80]}; there is {', '.join(self._routes)}")
        method, answer = found
        if request.method != method:
            raise Refused(405, f"{request.url.path} takes {method} alone", {"Allow": method})
        return await answer(request)

    async def _describe(self, _: Request) -> Response:
        return JSONResponse(self._about)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self._about["model"]})

    async def _metrics(self, _: Request) -> Response:
        page = await asyncio.to_thread(self._counts.page)
        return Response(page, headers={"Content-Type": _METRICS_TYPE})

    async def _predict(self, request: Request) -> Response:
        check_headers(request.headers, self._limits)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await read_body(request.stream(), self._limits)
        except TimeoutError:
            what = f"the body did not arrive within {self._limits.body_seconds:g} seconds"
            raise Refused(408, what) from None
        rows = read_texts(body, self._columns, self._limits)
        if self._waiting >= self._limits.waiting:
            raise Refused(429, f"{self._limits.waiting} requests wait already; come again", {"Retry-After": "1"})
        self._waiting += 1
        try:
            return JSONResponse({"predictions": await self._classify(rows)})
        finally:
            self._waiting -= 1

    # Serve fails a request that is by itself larger than a batch may be, so none counts as more than a batch.
    @serve.batch(
        max_batch_size=_TOGETHER,
        batch_wait_timeout_s=0.0,
        batch_size_fn=lambda asked: sum(min(len(one), _TOGETHER) for one in asked),
    )  # type: ignore[untyped-decorator]
    async def _classify(self, asked: list[list[Row]]) -> list[list[Answer]]:
        """Classify the texts of all requests that wait; the next ones gather meanwhile."""
        rows = [row for one in asked for row in one]
        self._counts.texts.inc(len(rows))
        self._counts.batches.observe(len(rows))
        answers = iter(await asyncio.to_thread(self._run, rows))
        return [[next(answers) for _ in one] for one in asked]

    def _run(self, rows: list[Row]) -> list[Answer]:
        logits = self._predictor.logits(list(zip(*rows, strict=True)), BATCH_TEXTS)
        classes = self._predictor.classes
        if not classes:
            return [{"label": value} for value in logits[:, 0].tolist()]
        chances = self._predictor.probabilities(logits)
        best = chances.argmax(axis=1).tolist()
        return [
            {"label": classes[place], "probabilities": dict(zip(classes, row, strict=True))}
            for place, row in zip(best, np.round(chances, 6).tolist(), strict=True)
        ]

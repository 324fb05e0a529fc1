"""The answers without Serve: no more requests wait than may, and failures are told."""

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from limbeck.serving.limits import Limits
from small_students import write_student

with warnings.catch_warnings():
    # Ray Serve's own, of pydantic.
    warnings.simplefilter("ignore")
    from limbeck.serving import app
    from limbeck.serving.app import Classifier

HEADERS = [(b"content-type", b"application/json")]


async def asked(model: Classifier, path: str = "/predict") -> tuple[int, dict[bytes, bytes], Any]:
    """Ask for one text's label; return status, headers and answer."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"text": "a good film"}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": HEADERS, "query_string": b""}
    await model(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def test_those_beyond_the_limit_are_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = write_student(tmp_path / "student")
    free = asyncio.Event()

    async def classify(_: Classifier, rows: list[Any]) -> list[Any]:
        await free.wait()
        return [{"label": "positive"} for _ in rows]

    monkeypatch.setattr(app, "Counts", MagicMock())
    monkeypatch.setattr(Classifier, "_classify", classify)

    async def run() -> None:
        model = Classifier(str(student), 1, Limits(waiting=2), "nowhere")
        first = [asyncio.create_task(asked(model)) for _ in range(2)]
        await asyncio.sleep(0.05)
        status, headers, answer = await asked(model)
        assert (status, headers[b"retry-after"]) == (429, b"1")
        assert answer == {"error": "2 requests wait already; come again"}
        free.set()
        assert [status for status, _, _ in await asyncio.gather(*first)] == [200, 200]
        assert (await asked(model))[0] == 200
        assert (await asked(model, "/health"))[0] == 405

    asyncio.run(run())


def test_a_failure_is_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def classify(*_: Any) -> list[Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(app, "Counts", MagicMock())
    monkeypatch.setattr(Classifier, "_classify", classify)
    model = Classifier(str(write_student(tmp_path / "student")), 1, Limits(), "nowhere")
    status, _, answer = asyncio.run(asked(model))
    assert (status, answer) == (500, {"error": "the server failed; its log says why"})
    model._counts.requests.labels.assert_called_once_with("500")
    assert "out of memory" in caplog.text


def test_a_refused_caller_is_heard_to_the_end_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes while a caller still sends is lost on it: the connection is reset."""
    monkeypatch.setattr(app, "Counts", MagicMock())
    monkeypatch.setattr(app, "_LINGER_SECONDS", 0.2)
    model = Classifier(str(write_student(tmp_path / "student")), 1, Limits(), "nowhere")
    announced = [*HEADERS, (b"content-length", b"3000000")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": announced, "query_string": b""}

    async def answered(parts: list[bytes]) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not parts:
                await asyncio.Event().wait()
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": part != b"last"}

        async def send(message: Any) -> None:
            sent.append((message, list(parts)))

        await asyncio.wait_for(model(scope, receive, send), 5)
        return sent

    for parts, unread in (([b"x", b"x", b"last", b"the next request's"], [b"the next request's"]), ([b"x"], [])):
        (head, left), _ = asyncio.run(answered(parts))
        assert (head["status"], left) == (413, unread)

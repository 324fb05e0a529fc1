"""The answers without Serve: no more requests wait than may."""

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

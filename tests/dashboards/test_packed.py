"""The program that shows pages is sent compressed, and is compressed once."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from packed import Packed

SCRIPT = "export const tables = 'drawn';\n" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page.js").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "drop.png").write_bytes(b"\x89PNG" + bytes(2000))
    return tmp_path


@pytest.fixture
def client(folder: Path) -> TestClient:
    return TestClient(
        Starlette(routes=[Mount("/static", StaticFiles(directory=folder))], middleware=[Middleware(Packed)])
    )


def test_a_script_is_compressed_once(client: TestClient, folder: Path) -> None:
    first = client.get("/static/page.js")
    assert first.headers["content-encoding"] == "gzip"
    assert first.text == SCRIPT
    assert first.num_bytes_downloaded < len(SCRIPT) / 10
    (folder / "page.js").unlink()
    again = client.get("/static/page.js")
    assert (again.text, dict(again.headers)) == (SCRIPT, dict(first.headers))


def test_what_others_write_into_an_answer_is_not_kept(folder: Path) -> None:
    packed = Packed(StaticFiles(directory=folder))

    async def outside(scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("x-seen", "once")
            await send(message)

        await packed(scope, receive, marked)

    client = TestClient(Starlette(routes=[Mount("/static", outside)]))
    assert [client.get("/static/page.js").headers["x-seen"] for _ in range(3)] == ["once"] * 3


@pytest.mark.parametrize("headers", [{"accept-encoding": "identity"}, {"range": "bytes=0-9"}])
def test_who_wants_it_as_it_is_gets_that(client: TestClient, headers: dict[str, str]) -> None:
    client.get("/static/page.js")
    found = client.get("/static/page.js", headers=headers)
    assert "content-encoding" not in found.headers
    assert SCRIPT.startswith(found.text)


def test_what_a_browser_has_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/static/page.js").headers["etag"]
    assert client.get("/static/page.js", headers={"if-none-match": tag}).status_code == 304


def test_pictures_are_left_alone(client: TestClient) -> None:
    assert "content-encoding" not in client.get("/static/drop.png").headers


def test_what_is_missing_is_looked_for_again(client: TestClient, folder: Path) -> None:
    assert client.get("/static/late.js").status_code == 404
    (folder / "late.js").write_text(SCRIPT, encoding="utf-8")
    assert client.get("/static/late.js").text == SCRIPT

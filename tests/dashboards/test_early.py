"""What is written into the pages on their way out: where the server is, and what to fetch early."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import early

INDEX = (early.SCRIPTS.parents[1] / "index.html").read_bytes()


async def page(scope: Any, receive: Any, send: Any) -> None:
    """As Streamlit answers: the same file for every page, and no file twice to who has it."""
    headers = dict(scope["headers"])
    kind = b"text/html; charset=utf-8" if "health" not in scope["path"] else b"text/plain"
    start = [(b"content-type", kind), (b"content-length", str(len(INDEX)).encode()), (b"etag", b"same")]
    status = 304 if b"if-none-match" in headers else 200
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": INDEX[:1000], "more_body": True})
    await send({"type": "http.response.body", "body": INDEX[1000:]})


def ask(path: str, method: str = "GET", query: bytes = b"") -> tuple[dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "query_string": query,
        "headers": [(b"if-none-match", b"same")],
    }
    asyncio.run(early.Early(page)(scope, None, send))  # type: ignore[arg-type]
    return dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("path", ["/", "/sweep", "/behind/a/proxy/sweep"])
def test_a_page_says_where_the_server_is_and_what_to_fetch(path: str) -> None:
    headers, body = ask(path)
    assert early.HERE.encode() in body
    assert headers[b"content-length"] == str(len(body)).encode()
    assert b"etag" not in headers, "the same file may have something else written into it"
    there = re.findall(rb'modulepreload" crossorigin href="\./static/js/([^"]+)"', body)
    assert len(set(there)) == len(there), "nothing is asked for twice"
    assert all((early.SCRIPTS / name.decode()).is_file() for name in there)
    assert any(b"DataFrame." in name for name in there)
    assert body.index(early.HERE.encode()) < body.index(b"</head>")


def test_only_what_shows_most_of_a_page_is_fetched() -> None:
    for query, part in ((b"", b"DataFrame."), (b"sweep=a%20b&view=History", b"EChartsChart.")):
        _, body = ask("/sweep", query=query)
        assert part in body
        assert not (b"DataFrame." in body and b"EChartsChart." in body)
    assert early.needed("/trial", "show=Configuration") == early.TABLES
    assert early.needed("/trial", "show=Log") == early.NEITHER
    assert early.needed("/trial", "") == early.CHARTS
    assert early.needed("/static/js/sweep.js", "") is None


@pytest.mark.parametrize(
    ("path", "method"), [("/_stcore/health", "GET"), ("/static/js/a.js", "GET"), ("/sweep", "POST")]
)
def test_all_else_goes_by_untouched(path: str, method: str) -> None:
    headers, body = ask(path, method)
    assert body == INDEX
    assert headers[b"etag"] == b"same"


def test_every_page_has_its_programs_in_this_streamlit() -> None:
    assert early.files([early.TABLES]) and early.files([early.CHARTS])
    heavy = sum((early.SCRIPTS / name).stat().st_size for name in early.files([early.CHARTS, early.TABLES]))
    assert heavy < 6e6, "read on every first visit"


def test_a_streamlit_without_them_is_asked_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "DataFrame.1.js").write_text("import{a}from`./arrow.2.js`;import`./gone.3.js`")
    (tmp_path / "arrow.2.js").write_text('import"./DataFrame.1.js"')
    assert early.files(["DataFrame", "Nothing"], tmp_path) == ["DataFrame.1.js", "arrow.2.js"]
    assert early.head(["Nothing"], "", tmp_path) == early.HERE
    assert early.head(["DataFrame"], "arrow.2.js", tmp_path).count("modulepreload") == 1

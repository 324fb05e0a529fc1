"""Has the browser fetch early what a page will need: by itself it asks for a table's or a chart's program only when the
first one has come, and looks for the server below each page's own address before it finds it.

Both are written into the one HTML file that Streamlit serves for every page. Where a Streamlit of another version has
no such programs, nothing is asked for, and pages are as fast as it alone makes them.
"""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCRIPTS = Path(streamlit.__file__).parent / "static" / "static" / "js"
HERE = (
    '<script>window.__streamlit = { BACKEND_BASE_URL: new URL(".", location.href).href, '
    "HOST_CONFIG: { allowedOrigins: [location.origin], useExternalAuthToken: false } }</script>"
)
"""Where the server is: beside the page, none of which lies deeper. And what it would answer about itself: the browser
connects at once instead of asking first."""
TABLES, CHARTS, NEITHER = "DataFrame", "EChartsChart", ""
NEEDED: dict[str, tuple[str, dict[str, str], str]] = {
    "": ("", {}, TABLES),
    "sweep": ("view", {"": TABLES, "Leaderboard": TABLES}, CHARTS),
    "retention": ("", {}, CHARTS),
    "ablations": ("", {}, CHARTS),
    "trial": ("show", {"": CHARTS, "Curves": CHARTS, "Tricks": CHARTS, "Configuration": TABLES}, NEITHER),
    "compare": ("", {}, CHARTS),
    "export": ("", {}, NEITHER),
}
"""By the last part of a page's address: what in it says what is shown, its values, and what is needed for all others.
Only what shows most of a page: all at once keep a browser from beginning."""
_IMPORT = re.compile(r'(?:from|import)\s*["`\']\./([\w.-]+\.js)["`\']')


def files(names: Sequence[str], folder: Path = SCRIPTS) -> list[str]:
    """Return the files of the named programs, and those they cannot begin without, less what every page loads."""
    found: dict[str, None] = {}
    waiting = [path.name for name in filter(None, names) for path in sorted(folder.glob(f"{name}.*.js"))]
    while waiting:
        name = waiting.pop()
        if name not in found and (folder / name).is_file():
            found[name] = None
            waiting += _IMPORT.findall((folder / name).read_text(encoding="utf-8"))
    return list(found)


def head(names: Sequence[str], page: str, folder: Path = SCRIPTS) -> str:
    """Return what is to stand in the head of a page, which says itself what else it loads."""
    links = [
        f'<link rel="modulepreload" crossorigin href="./static/js/{html.escape(name)}">'
        for name in files(names, folder)
        if name not in page
    ]
    return "".join([HERE, *links])


def needed(path: str, query: str) -> str | None:
    """Return what shows most of the page at an address; None where it is no page."""
    if (name := path.rpartition("/")[2]) not in NEEDED:
        return None
    says, values, others = NEEDED[name]
    return values.get(parse_qs(query).get(says, [""])[0], others)


class Early:
    """Writes into the pages on their way out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        page = (SCRIPTS.parents[1] / "index.html").read_text(encoding="utf-8")
        self._heads = {part: head([part], page).encode() for part in (TABLES, CHARTS, NEITHER)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        part = needed(scope["path"], query) if scope["type"] == "http" and scope["method"] == "GET" else None
        if part is None:
            await self._app(scope, receive, send)
            return
        kept: list[Message] = []
        # Whole, and as it is: it is a few thousand bytes, and what is written into it may change while it does not.
        plain = {b"if-none-match", b"if-modified-since", b"accept-encoding", b"range"}
        scope = {**scope, "headers": [(key, value) for key, value in scope["headers"] if key not in plain]}

        async def written(message: Message) -> None:
            kept.append(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                return
            start, body = kept[0], b"".join(piece.get("body", b"") for piece in kept[1:])
            headers = MutableHeaders(scope=start)
            if start["status"] == 200 and headers.get("content-type", "").startswith("text/html"):
                body = body.replace(b"</head>", self._heads[part] + b"</head>", 1)
                headers["content-length"] = str(len(body))
                for what in ("etag", "last-modified"):
                    del headers[what]
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, written)

"""The body of a request, read: texts, or a refusal that says what is wrong with it."""

import json
from collections.abc import AsyncIterable, Mapping
from typing import Any

from limbeck.predictor import Row
from limbeck.predictor.inputs import HALF
from limbeck.serving.limits import Limits
from limbeck.texts import is_whole

_TEXT, _TEXTS = "text", "texts"


class Refused(Exception):
    """A request that is not answered: its status and the reason."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def check_headers(headers: Mapping[str, str], limits: Limits) -> None:
    """Refuse what the headers tell already. `headers` finds names in lower case."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, f"Content-Type must be application/json, got {kind or 'none'}")
    if (said := headers.get("content-length")) is not None and (not said.isdecimal() or int(said) > limits.body_bytes):
        raise Refused(413, _too_long(limits))


async def read_body(chunks: AsyncIterable[bytes], limits: Limits) -> bytes:
    """Return the whole body. Refused: it is longer than it may be, whatever its headers said."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limits.body_bytes:
            raise Refused(413, _too_long(limits))
    return bytes(body)


def read_texts(body: bytes, columns: int, limits: Limits) -> list[Row]:
    """Return the texts of `{"text": …}` or `{"texts": […]}`; where the model takes pairs, each is a list of two."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    form = '{"text": TEXT} or {"texts": [TEXT, …]}'
    if not isinstance(asked, dict) or len(asked) != 1 or not asked.keys() <= {_TEXT, _TEXTS}:
        raise Refused(422, f"the body must be {form}, got {_shown(asked)}")
    texts = [asked[_TEXT]] if _TEXT in asked else asked[_TEXTS]
    if not isinstance(texts, list):
        raise Refused(422, f"texts must be a list, got {_shown(texts)}")
    if not 0 < len(texts) <= limits.texts:
        raise Refused(422 if not texts else 413, f"texts must hold 1 to {limits.texts} texts, got {len(texts)}")
    return [_row(place, text, columns, limits) for place, text in enumerate(texts)]


def _row(place: int, text: Any, columns: int, limits: Limits) -> Row:
    parts = [text] if columns == 1 else text
    what = "a string" if columns == 1 else f"a list of {columns} strings"
    if not isinstance(parts, list) or len(parts) != columns or not all(isinstance(part, str) for part in parts):
        raise Refused(422, f"texts[{place}] must be {what}, got {_shown(text)}")
    for part in parts:
        if len(part) > limits.characters:
            raise Refused(413, f"texts[{place}] has {len(part):,} characters; at most {limits.characters:,}")
        if not is_whole(part):
            raise Refused(422, f"texts[{place}] {HALF}")
    return tuple(parts)


def _too_long(limits: Limits) -> str:
    return f"the body must not exceed {limits.body_bytes:,} bytes"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"

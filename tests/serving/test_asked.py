"""Bodies of requests: texts out of good ones, a status and a reason out of all others."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from limbeck.serving.asked import Refused, check_headers, read_body, read_texts
from limbeck.serving.limits import Limits

LIMITS = Limits(texts=3, characters=20, body_bytes=100)


def read(value: Any, columns: int = 1) -> list[tuple[str, ...]]:
    return read_texts(json.dumps(value).encode(), columns, LIMITS)


def test_one_text_several_and_pairs() -> None:
    assert read({"text": "a film"}) == [("a film",)]
    assert read({"texts": ["a", "", "naïve 😀"]}) == [("a",), ("",), ("naïve 😀",)]
    assert read({"text": ["a", "b"]}, columns=2) == [("a", "b")]
    assert read({"texts": [["a", "b"], ["c", "d"]]}, columns=2) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b"[]", 422, "the body must be"),
        (b"{}", 422, "the body must be"),
        (b'{"txt": "a"}', 422, "the body must be"),
        (b'{"text": "a", "texts": ["b"]}', 422, "the body must be"),
        (b'{"text": 7}', 422, r"texts\[0\] must be a string, got 7"),
        (b'{"text": ["a"]}', 422, "must be a string"),
        (b'{"texts": "a"}', 422, "must be a list"),
        (b'{"texts": []}', 422, "1 to 3 texts, got 0"),
        (b'{"texts": ["a", "b", "c", "d"]}', 413, "1 to 3 texts, got 4"),
        (b'{"texts": ["a", null]}', 422, r"texts\[1\] must be a string, got null"),
        (json.dumps({"text": "x" * 21}).encode(), 413, "21 characters; at most 20"),
        (b'{"text": "\\ud800"}', 422, "surrogate"),
    ],
)
def test_bodies_that_are_refused(body: bytes, status: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        read_texts(body, 1, LIMITS)
    assert refused.value.status == status


def test_a_model_of_pairs_refuses_single_texts() -> None:
    with pytest.raises(Refused, match=r"must be a list of 2 strings"):
        read({"text": "a"}, columns=2)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json", "content-length": "101"}, 413),
        ({"content-type": "application/json", "content-length": "-1"}, 413),
    ],
)
def test_headers_that_are_refused(headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refused) as refused:
        check_headers(headers, LIMITS)
    assert refused.value.status == status
    check_headers({"content-type": "Application/JSON; charset=utf-8", "content-length": "100"}, LIMITS)


def test_a_body_longer_than_its_headers_said_is_cut_off() -> None:
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 40

    with pytest.raises(Refused, match="must not exceed 100 bytes"):
        asyncio.run(read_body(chunks(), LIMITS))
    assert taken == 3

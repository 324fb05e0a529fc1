"""A served model: right answers, metrics, and refusals that harm nobody, from the command's start to its end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck
from limbeck.export import export_student
from limbeck.predictor import Predictor
from small_students import TEXTS, facts_for, probe_for, splits_for, write_student

pytestmark = pytest.mark.slow
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = write_student(tmp_path_factory.mktemp("trial") / "student")
    probe = probe_for(student)
    return export_student("onnx", student, student.parent / "best", facts_for(probe), splits_for(probe)).folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server that runs, and its process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(limbeck.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "limbeck.cli", "serve", str(model)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    said = next((line for line in process.stderr if "http://" in line), "it ended")
    found = re.search(r"http://[\w.:]+", said)
    try:
        assert found, said
        yield found.group(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Return status and body, whatever the status is."""
    request = urllib.request.Request(url, body, headers or (JSON if body is not None else {}))
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def predict(url: str, value: Any) -> tuple[int, Any]:
    status, answer = ask(f"{url}/predict", json.dumps(value).encode())
    return status, json.loads(answer)


def test_many_callers_get_the_models_answers(server: tuple[str, Any], model: Path) -> None:
    url, _ = server
    here = Predictor(model)
    wanted = here.probabilities(here.logits([TEXTS]))
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda text: predict(url, {"text": text}), TEXTS * 20))
    assert {status for status, _ in found} == {200}
    for (_, answer), row in zip(found, list(wanted) * 20, strict=True):
        (one,) = answer["predictions"]
        assert list(one["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert one["label"] == here.classes[row.argmax()]
    most = (TEXTS * 50)[:256]  # as many as a request may hold, more than are gathered from several
    for texts in (TEXTS, most):
        status, answer = predict(url, {"texts": texts})
        assert status == 200
        best = np.resize(wanted.argmax(1), len(texts))
        assert [one["label"] for one in answer["predictions"]] == [here.classes[i] for i in best]


def test_what_is_refused_and_why(server: tuple[str, Any]) -> None:
    url, _ = server
    for body, headers, status, words in (
        (b"{", JSON, 400, "no JSON"),
        (b'{"txt": "a"}', JSON, 422, "the body must be"),
        (json.dumps({"texts": ["a"] * 257}).encode(), JSON, 413, "1 to 256 texts"),
        (b"x" * 3_000_000, JSON, 413, "must not exceed"),
        (b'{"text": "a"}', {"Content-Type": "text/plain"}, 415, "application/json"),
        (None, {}, 405, "takes POST alone"),
    ):
        found, answer = ask(f"{url}/predict", body, headers)
        assert found == status
        assert words in json.loads(answer)["error"]
    assert ask(f"{url}/nowhere")[0] == 404
    assert predict(url, {"text": "a good film"})[0] == 200


def test_slow_callers_are_refused_and_others_are_answered_meanwhile(server: tuple[str, Any]) -> None:
    url, _ = server
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(2)]
        slow[0].sendall(head.encode() + b"\r\n{")
        slow[1].sendall(head.encode())
        started = time.monotonic()
        assert predict(url, {"text": "a good film"})[0] == 200
        assert time.monotonic() - started < 3
        for one, words in zip(slow, (b"the body did not", b"the headers did not"), strict=True):
            told = one.makefile("rb").read()  # until the server closes the connection
            assert b" 408 " in told
            assert words in told


def test_headers_without_end_are_refused(server: tuple[str, Any]) -> None:
    url, _ = server
    status, answer = ask(url, headers={"X-Long": "x" * 1_000_000})
    assert status == 431
    assert "32,768 bytes" in json.loads(answer)["error"]


def test_health_numbers_and_a_good_end(server: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = server
    assert json.loads(ask(f"{url}/health")[1])["status"] == "ok"
    assert json.loads(ask(url)[1])["classes"] == ["negative", "positive"]
    status, page = ask(f"{url}/metrics")
    assert status == 200
    counted = re.search(r'^limbeck_requests_total\{status="200"\} (\d+)', page, re.MULTILINE)
    assert counted
    assert int(counted.group(1)) >= 100
    assert 'status="413"' in page
    assert "limbeck_batch_texts_bucket" in page
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stderr.read() == "stopping: requests under way are answered first\n"
    assert process.stdout.read() == ""
    assert process.wait(60) == 0

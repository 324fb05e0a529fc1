import math
from pathlib import Path

import numpy as np
import pytest

from limbeck.cluster.messages import (
    End,
    Message,
    Ready,
    Refused,
    Report,
    Said,
    packed,
    request_stop,
    stop_requested,
    unpacked,
)


@pytest.mark.parametrize(
    "message",
    [
        Report(3, 10, 0.3, 1.5, {"retention": 0.9}, [{"text": "x"}]),
        Report(3, 10, 0.3, 1.5, {"loss": math.inf, "share": 0.1 + 0.2}),
        End("failed", error="no", traceback="line"),
        End("complete", {"retention": 0.9}, 5, 1.0, "task", "teacher", ("no", "yes")),
        Said("teacher: from the cache"),
        Ready(),
        Refused([("base.task", "no such task")]),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert unpacked({**packed(message), "training_iteration": 3}) == message


def test_numbers_of_any_library_arrive() -> None:
    sent = Report(3, 10, 0.3, 1.5, {"a": np.float32(0.5), "b": np.float64(math.nan)})
    arrived = unpacked(packed(sent))
    assert isinstance(arrived, Report)
    assert arrived.metrics["a"] == 0.5 and math.isnan(arrived.metrics["b"])


def test_other_results_hold_no_message() -> None:
    assert unpacked({"done": True}) is None


def test_a_stop_is_asked_for_by_a_file(tmp_path: Path) -> None:
    assert not stop_requested(tmp_path)
    request_stop(tmp_path)
    assert stop_requested(tmp_path)

"""Connections to Ray that do not come about."""

from typing import Any

import pytest
import ray

from limbeck.cluster import session
from limbeck.errors import UserError


def test_a_ray_that_does_not_start_in_time_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**settings: Any) -> None:
        raise Exception(
            "The current node timed out during startup. This could happen because some of the raylet failed"
        )

    # The Ray that other tests share is not this one's to end.
    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match="is this machine busy"), session.connected(None):
        pass

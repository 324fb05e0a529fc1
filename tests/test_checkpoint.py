"""Checkpoints: whole or absent, the newest whole one wins, and an optimiser comes back as it was."""

from pathlib import Path

import pytest
import torch

from limbeck import checkpoint
from limbeck.optimise import Optimiser


def test_the_newest_is_read_and_the_oldest_dropped(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, {"x": torch.tensor([float(step)])}, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000002", "step-000000010"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found[0]["x"].item() == 10
    assert found[1] == {"step": 10}


def test_nothing_there_is_nothing_found(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "absent") is None


def test_a_disk_that_fills_up_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, {"x": torch.ones(2)}, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 2, {"x": torch.ones(2)}, {"step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]


def test_an_optimiser_comes_back(tmp_path: Path) -> None:
    def fresh() -> tuple[torch.nn.Linear, Optimiser]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = torch.nn.Linear(3, 2)
        return layer, Optimiser(layer.parameters(), learning_rate=0.1, weight_decay=0.1, clip_norm=1.0)

    def go(layer: torch.nn.Linear, optimiser: Optimiser, steps: range) -> None:
        for step in steps:
            total = layer(torch.full((4, 3), float(step + 1))).square().mean()
            optimiser.step(total, lambda _: None, 0.5)

    whole = fresh()
    go(*whole, range(6))
    first, second = fresh(), fresh()
    go(*first, range(3))
    state = {**first[0].state_dict(), **checkpoint.flatten_optimiser("o", first[1].adam)}
    checkpoint.save(tmp_path, 3, state, {})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    second[0].load_state_dict({k: found[0][k] for k in ("weight", "bias")})
    checkpoint.restore_optimiser("o", second[1].adam, found[0])
    go(*second, range(3, 6))
    assert torch.equal(second[0].weight, whole[0].weight)

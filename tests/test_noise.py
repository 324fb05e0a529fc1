"""Noise belongs to rows: halves of a batch draw what the whole draws."""

import numpy as np
import torch

from limbeck.noise import RowNoise, derived_seed


def test_two_halves_draw_what_the_whole_draws() -> None:
    whole = RowNoise(3, 5, range(4))
    halves = [RowNoise(3, 5, range(2)), RowNoise(3, 5, range(2, 4))]
    assert torch.equal(whole.uniform(7), torch.cat([half.uniform(7) for half in halves]))
    both = [half.gumbel([2, 0] if i == 0 else [1, 3], 5) for i, half in enumerate(halves)]
    assert torch.equal(whole.gumbel([2, 0, 1, 3], 5), torch.cat(both))


def test_steps_seeds_and_rows_differ() -> None:
    base = RowNoise(3, 5, [0]).uniform(4)
    for other in (RowNoise(4, 5, [0]), RowNoise(3, 6, [0]), RowNoise(3, 5, [1])):
        assert not torch.equal(base, other.uniform(4))


def test_streams_go_on() -> None:
    noise = RowNoise(0, 0, [0])
    assert not torch.equal(noise.uniform(4), noise.uniform(4))


def test_gumbel_has_the_right_mean_and_spread() -> None:
    draws = RowNoise(0, 0, range(8)).gumbel([1000] * 8, 10)
    assert draws.dtype == torch.float32
    assert torch.isfinite(draws).all()
    # Euler's constant and π/√6; standard errors are below 0.005.
    assert abs(draws.mean().item() - np.euler_gamma) < 0.02
    assert abs(draws.std().item() - np.pi / np.sqrt(6)) < 0.02


def test_derived_seeds_are_stable_across_versions() -> None:
    assert derived_seed(0, "order") == derived_seed(0, "order")
    assert derived_seed(0, "order") != derived_seed(0, "init")
    assert 0 <= derived_seed(1, 2, 3) < 2**63


def test_each_row_draws_as_many_as_it_is_asked() -> None:
    whole = RowNoise(3, 5, range(2)).uniform_each([2, 3])
    halves = [RowNoise(3, 5, [row]).uniform_each([count]) for row, count in ((0, 2), (1, 3))]
    assert torch.equal(whole, torch.cat(halves))
    assert RowNoise(3, 5, range(2)).uniform_each([0, 0]).shape == (0,)

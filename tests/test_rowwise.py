"""AdamW over the rows that had gradients must be torch's dense one, to the last bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from limbeck import checkpoint
from limbeck.optimise import Optimiser
from limbeck.rowwise import gathered

V, D = 5000, 24


class Reader(nn.Module):
    """A table and a layer that reads it."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.words = nn.Embedding(V, D, padding_idx=0, sparse=sparse)
            self.layer = nn.Linear(D, 2)

    def forward(self, ids: Tensor, tied: bool = False) -> Tensor:
        out = self.layer(self.words(ids)).tanh().square().sum()
        return out + (self.words.weight.square().mean() if tied else 0.0)


def new(sparse: bool) -> tuple[Reader, Optimiser]:
    reader = Reader(sparse)
    # So low that every step is clipped, and so high a decay that a row left out would show.
    return reader, Optimiser(reader.parameters(), learning_rate=0.01, weight_decay=0.3, clip_norm=0.5)


def ids_of(step: int) -> Tensor:
    """Many words, some of them often, and other ones later: more than a thousand in all."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 1000 + 400 * step, (16, 20), generator=generator)
    ids[:, :6] = torch.tensor([0, 7, 7, 8, 0, 9])
    return ids


def go(reader: Reader, optimiser: Optimiser, steps: range, tied: range = range(0)) -> list[float]:
    norms = [optimiser.step(reader(ids_of(k), k in tied), lambda _: None, 1 / (1 + k)) for k in steps]
    return [float(norm) for norm in norms]


def same(a: Reader, b: Reader) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_rows_move_as_the_whole_table_would() -> None:
    by_rows, dense = new(True), new(False)
    assert go(*by_rows, range(9)) == go(*dense, range(9))
    assert same(by_rows[0], dense[0])
    state = by_rows[1].adam.state[by_rows[0].words.weight]
    read = torch.cat([ids_of(k).flatten() for k in range(9)]).unique()
    assert state["rows"].sort().values.tolist() == [row for row in read.tolist() if row != 0]
    assert 1024 < len(state["rows"]) <= len(state["exp_avg"]) < V


def test_a_step_that_reads_no_word_still_moves_those_before() -> None:
    by_rows, dense = new(True), new(False)
    for reader, optimiser in (by_rows, dense):
        go(reader, optimiser, range(2))
        optimiser.step(reader.layer.weight.square().sum() + 0 * reader(torch.tensor([[5]])), lambda _: None)
    assert same(by_rows[0], dense[0])


def test_a_checkpoint_brings_it_back(tmp_path: Path) -> None:
    whole = new(True)
    go(*whole, range(8))
    first, second = new(True), new(True)
    go(*first, range(4))
    checkpoint.save(tmp_path, 4, {**first[0].state_dict(), **checkpoint.flatten_optimiser("o", first[1].adam)}, {})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    second[0].load_state_dict({key: found[0][key] for key in second[0].state_dict()})
    checkpoint.restore_optimiser("o", second[1].adam, found[0])
    go(*second, range(4, 8))
    assert same(second[0], whole[0])


def test_a_checkpoint_with_moments_of_all_rows_goes_on_as_it_began() -> None:
    whole, first, second = new(False), new(False), new(True)
    go(*whole, range(8))
    go(*first, range(4))
    second[0].load_state_dict(first[0].state_dict())
    checkpoint.restore_optimiser("o", second[1].adam, checkpoint.flatten_optimiser("o", first[1].adam))
    go(*second, range(4, 8))
    assert same(second[0], whole[0])


@pytest.mark.parametrize("tied", [range(3, 4), range(0, 1), range(7, 8)])
def test_a_dense_gradient_at_any_time_is_one_of_all_rows(tied: range) -> None:
    by_rows, dense = new(True), new(False)
    go(*by_rows, range(8), tied)
    go(*dense, range(8), tied)
    torch.testing.assert_close(by_rows[0].words.weight, dense[0].words.weight, rtol=1e-5, atol=1e-7)
    assert "rows" not in by_rows[1].adam.state[by_rows[0].words.weight]


def test_equal_rows_are_added_in_the_order_of_the_batch() -> None:
    up = torch.randn(16, 20, D, generator=torch.Generator().manual_seed(1))
    grads = []
    for sparse in (True, False):
        reader = Reader(sparse)
        grads += torch.autograd.grad((reader.words(ids_of(1)) * up).sum(), [reader.words.weight])
    assert torch.equal(gathered(grads[0]).to_dense(), grads[1])

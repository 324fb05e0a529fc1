"""Rows of different lengths read by pieces: the same answers, the same words, fewer pads."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import toys
from limbeck.encoding import Batch, padded
from limbeck.methods import pieces
from limbeck.methods.l2a import read_first
from limbeck.methods.masking import invent_inputs, logits_of, perplexity
from limbeck.methods.pieces import by_pieces
from limbeck.noise import RowNoise

COUNT = 20


@pytest.fixture
def batch() -> Batch:
    """Rows of 5 to 12 tokens, and pads up to 40."""
    return padded(toys.batch(COUNT), 40, toys.PAD)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is cut."""
    monkeypatch.setattr(pieces, "_FULL_ENOUGH", 0.0)
    return monkeypatch


def test_each_row_is_in_one_piece_no_wider_than_its_longest(batch: Batch) -> None:
    cut = pieces.pieces(batch)
    assert sorted(torch.cat([piece.rows for piece in cut]).tolist()) == list(range(COUNT))
    lengths = batch.attention_mask.sum(1)
    assert [piece.width for piece in cut] == [int(lengths[piece.rows].max()) for piece in cut]
    assert [len(piece.rows) for piece in cut] == [16, 4]
    assert cut[0].width < cut[-1].width
    own = cut[0].batch(batch)
    for name in ("input_ids", "attention_mask", "token_type_ids", "maskable"):
        assert torch.equal(getattr(own, name), getattr(batch, name)[cut[0].rows, : cut[0].width])
    for name in ("labels", "rows", "teacher_logits"):
        assert torch.equal(getattr(own, name), getattr(batch, name)[cut[0].rows])


def test_what_is_full_enough_stays_whole() -> None:
    assert not pieces.pieces(toys.batch(COUNT))


def test_a_line_comes_back_to_its_row(batch: Batch) -> None:
    def read(part: Batch) -> tuple[Tensor, Tensor]:
        return part.rows, part.input_ids.sum(1) + part.input_ids.shape[1]

    rows, sums = by_pieces(read, batch)
    assert rows.tolist() == batch.rows.tolist()
    # Pads add nothing but width, and that is less.
    assert (sums < batch.input_ids.sum(1) + 40).all()


def test_answers_and_gradients_are_those_of_the_whole(batch: Batch, whole: pytest.MonkeyPatch) -> None:
    def answers() -> tuple[Tensor, Tensor, Tensor]:
        classifier = toys.classifier(seed=4)
        logits = logits_of(classifier, batch, batch.input_ids)
        (logits**2).sum().backward()
        gradient = classifier.embedding.weight.grad
        assert gradient is not None
        return logits.detach(), gradient, read_first(classifier, batch)[1]

    at_once = answers()
    whole.undo()
    assert pieces.pieces(batch)
    for one, other in zip(answers(), at_once, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_same_words_are_invented(batch: Batch, whole: pytest.MonkeyPatch) -> None:
    generator = toys.generator()

    def words() -> tuple[Tensor, Tensor, Tensor]:
        made, masked = invent_inputs(generator, batch, 0.4, toys.MASK, RowNoise(0, 0, range(COUNT)))
        return made, masked.hidden, perplexity(generator, batch, masked, made)

    at_once = words()
    assert (at_once[0] != batch.input_ids).any()
    whole.undo()
    by_parts = words()
    assert torch.equal(by_parts[0], at_once[0]) and torch.equal(by_parts[1], at_once[1])
    torch.testing.assert_close(by_parts[2], at_once[2])


def test_a_batch_without_segments(batch: Batch) -> None:
    plain = replace(batch, token_type_ids=None)
    assert pieces.pieces(plain)[0].batch(plain).token_type_ids is None

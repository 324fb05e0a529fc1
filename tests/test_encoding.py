"""Token ids on disk, the order of rows, and padded batches."""

from pathlib import Path

import numpy as np
import pytest

import worlds
from limbeck.cache import Cache
from limbeck.encoding import Encoded, Order, Vocabulary, by_length, collate, encode, joined, take
from limbeck.models import load_tokenizer
from limbeck.tasks import Examples


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return load_tokenizer(worlds.write_base(tmp_path_factory.mktemp("base")))


@pytest.fixture
def split(tokenizer, tmp_path: Path) -> Encoded:  # type: ignore[no-untyped-def]
    texts = ["good film", "the plot was very dull", "fine"]
    examples = Examples(columns=(texts,), labels=np.array([1, 0, 1], np.int64))
    return encode(examples, tokenizer, 6, Cache(tmp_path), "three")


def test_rows_are_token_ids_cut_to_the_limit(split: Encoded) -> None:
    ids = {word: i for i, word in enumerate(worlds.TOKENS)}
    rows = [split.tokens[a:b].tolist() for a, b in zip(split.offsets[:-1], split.offsets[1:], strict=True)]
    assert rows[0] == [ids[w] for w in ("[CLS]", "good", "film", "[SEP]")]
    assert rows[1] == [ids[w] for w in ("[CLS]", "the", "plot", "was", "very", "[SEP]")]
    assert isinstance(split.tokens, np.memmap)


def test_pairs_keep_their_segments(tokenizer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    examples = Examples(columns=(["good film"], ["dull plot"]), labels=np.array([0]))
    pair = encode(examples, tokenizer, 16, Cache(tmp_path), "pair")
    assert pair.segments is not None
    assert pair.segments.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_batch_is_padded_and_its_specials_are_not_maskable(tokenizer, split: Encoded) -> None:  # type: ignore[no-untyped-def]
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    batch = collate(split, np.array([2, 0]), Vocabulary.of(tokenizer), logits)
    assert batch.input_ids.shape == (2, 4)
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch.maskable.tolist() == [[False, True, False, False], [False, True, True, False]]
    assert batch.rows.tolist() == [2, 0]
    assert batch.labels.tolist() == [1, 1]
    assert batch.teacher_logits.tolist() == [[4, 5], [0, 1]]


def test_taken_and_joined_rows_are_the_rows(split: Encoded) -> None:
    some = take(split, np.array([2, 1]))
    both = joined(some, split)
    rows = [both.tokens[a:b].tolist() for a, b in zip(both.offsets[:-1], both.offsets[1:], strict=True)]
    whole = [split.tokens[a:b].tolist() for a, b in zip(split.offsets[:-1], split.offsets[1:], strict=True)]
    assert rows == [whole[2], whole[1], *whole]
    assert both.labels.tolist() == [1, 0, 1, 0, 1]


LENGTHS = np.random.default_rng(0).integers(3, 60, 500)


def test_every_row_comes_once_an_epoch() -> None:
    order = Order(LENGTHS, 10, seed=1)
    # Pools of 160 rows straddle epochs of 500, so 8 epochs of 4,000 rows are 25 whole pools.
    rows = np.concatenate([order.batch(k) for k in range(400)])
    assert np.bincount(rows, minlength=500).tolist() == [8] * 500


@pytest.mark.parametrize("rows", [40, 50, 100, 200])
def test_the_batches_of_few_rows_hold_different_rows(rows: int) -> None:
    order = Order(LENGTHS[:rows], 32, seed=1)
    # Whole pools, of one, three or six batches.
    batches = [order.batch(k) for k in range(6 * rows)]
    assert np.bincount(np.concatenate(batches), minlength=rows).tolist() == [6 * 32] * rows, "every row once an epoch"
    # A batch may end one epoch and begin the next; it holds no row three times.
    assert max(np.bincount(batch).max() for batch in batches) <= 2
    assert np.mean([len(set(batch)) for batch in batches]) > 0.8 * 32


def test_batches_depend_on_seed_and_number_alone() -> None:
    first, again, other = Order(LENGTHS, 10, 1), Order(LENGTHS, 10, 1), Order(LENGTHS, 10, 2)
    backwards = {k: again.batch(k).tolist() for k in reversed(range(60))}
    assert all(first.batch(k).tolist() == backwards[k] for k in range(60))
    assert any(first.batch(k).tolist() != other.batch(k).tolist() for k in range(60))


def test_pooling_saves_padding() -> None:
    order = Order(LENGTHS, 10, 1)
    batches = [LENGTHS[order.batch(k)] for k in range(160)]
    pooled = sum(b.sum() for b in batches) / sum(len(b) * b.max() for b in batches)
    shuffled = np.random.default_rng(1).permutation(LENGTHS).reshape(-1, 10)
    plain = shuffled.sum() / (10 * shuffled.max(1)).sum()
    assert pooled > 0.85 > plain


def test_evaluation_visits_every_row_once(split: Encoded) -> None:
    assert sorted(np.concatenate(list(by_length(split, 8))).tolist()) == [0, 1, 2]

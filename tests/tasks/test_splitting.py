"""Drawing and carving rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import UserError
from limbeck.tasks import Examples, subsample
from limbeck.tasks.splitting import carve, row_keys, text_key
from limbeck.tasks.task import fingerprint


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_subsample_keeps_shares_and_every_class(counts: list[int], data: st.DataObject) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    n = data.draw(st.integers(len(counts), len(labels)))
    rows = subsample(labels, n, seed=3)
    assert len(set(rows.tolist())) == n
    assert (np.diff(rows) > 0).all()
    taken = np.bincount(labels[rows], minlength=len(counts))
    assert taken.min() >= 1
    quotas = n * np.array(counts) / len(labels)
    # Rows owed to classes that would have got none are taken from the others.
    assert (taken <= np.maximum(1, np.ceil(quotas))).all()
    assert (taken >= np.floor(quotas) - len(counts)).all()
    if quotas.min() >= 1:
        assert (np.abs(taken - quotas) < 1).all()
    assert (subsample(labels, n, seed=3) == rows).all()


def test_subsample_by_hand() -> None:
    labels = np.array([0] * 70 + [1] * 28 + [2] * 2, dtype=np.int64)
    assert np.bincount(labels[subsample(labels, 10, seed=0)]).tolist() == [7, 2, 1]
    assert subsample(labels, 10, seed=0).tolist() != subsample(labels, 10, seed=1).tolist()
    assert subsample(labels, 100, seed=0).tolist() == list(range(100))


def test_subsample_of_numbers_ignores_their_values() -> None:
    values = np.linspace(0, 1, 50, dtype=np.float32)
    assert len(subsample(values, 3, seed=0)) == 3


@pytest.mark.parametrize(("n", "words"), [(2, "each of the 3 classes"), (7, "only 6"), (0, "each of the 3")])
def test_subsample_refuses_what_cannot_be_drawn(n: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        subsample(np.array([0, 0, 1, 1, 2, 2], dtype=np.int64), n, seed=0)


def examples(texts: list[str], labels: list[int]) -> Examples:
    return Examples((texts,), np.array(labels, dtype=np.int64))


def test_carving_leaves_repeated_texts_in_the_rest() -> None:
    texts = [f"text {i // 2}" for i in range(20)] + [f"single {i}" for i in range(20)]
    rest, carved = carve(examples(texts, [0, 1] * 20))
    assert len(carved) == 4
    assert not set(row_keys(rest)) & set(row_keys(carved))
    assert np.bincount(carved.labels).tolist() == [2, 2]


def test_carving_leaves_every_class_a_row() -> None:
    rest, carved = carve(examples([f"text {i}" for i in range(12)], [0] * 10 + [1, 2]))
    assert set(rest.labels.tolist()) == {0, 1, 2}
    assert carved.labels.tolist() == [0]


def test_carving_takes_a_thousand_rows_at_most() -> None:
    rest, carved = carve(examples([f"text {i}" for i in range(15_000)], [0, 1] * 7_500))
    assert (len(rest), len(carved)) == (14_000, 1_000)


def test_too_few_rows_to_carve() -> None:
    with pytest.raises(UserError, match="2 training rows are too few"):
        carve(examples(["a", "b"], [0, 1]))


def test_keys_ignore_case_signs_and_spaces() -> None:
    assert text_key("J . R . R . Tolkien's") == text_key("j.r.r. tolkiens")
    assert text_key("café") != text_key("caf")
    assert text_key("!!") != text_key("...")


def test_the_fingerprint_sees_texts_labels_classes_and_columns() -> None:
    def of(classes: tuple[str, ...] = ("a", "b"), texts: tuple[str, ...] = ("x", "yz"), label: int = 1) -> str:
        return fingerprint(classes, {"train": examples(list(texts), [0, label])}, ["more"])

    prints = {of(), of(texts=("xy", "z")), of(label=0), of(classes=("b", "a"))}
    pair = Examples((["x"], ["yz"]), np.array([0, 1], dtype=np.int64))
    prints |= {fingerprint(("a", "b"), {"train": pair}, ["more"]), fingerprint(("a", "b"), {"test": pair}, ["more"])}
    assert len(prints) == 6
    assert of() == of()


def test_merged_classes_are_scored_by_the_largest_of_their_group() -> None:
    foreign = Examples((["a", "b"],), np.array([0, 1], dtype=np.int64), merge=(0, 1, 1))
    logits = np.array([[2, 1, 0], [1, 0, 3]], dtype=np.float32)
    assert foreign.scored(logits).tolist() == [[2, 1], [1, 3]]
    assert examples(["a"], [0]).scored(logits) is logits

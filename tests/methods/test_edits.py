"""Text edits, by hand with chosen draws."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

import toys
from limbeck.methods.base import STUDENT
from limbeck.methods.eda import Eda, EdaConfig
from limbeck.methods.edits import edit, edit_row
from limbeck.methods.glitter import Glitter, GlitterConfig
from limbeck.models import HubClassifier
from limbeck.noise import RowNoise

ROW = [toys.CLS, 10, 11, 12, 13, toys.SEP]
FREE = [1, 2, 3, 4]
LONGEST = 20
SWAP, DELETE, INSERT = 0.0, 0.34, 0.67
"""First draws that choose each kind of edit."""


@pytest.mark.parametrize(
    ("draws", "tokens", "places"),
    [
        # Place 2 (0.3 of four), and of the three others after it the second (0.5): place 4.
        ([SWAP, 0.3, 0.5], [1, 10, 13, 12, 11, 2], [0, 1, 2, 3, 4, 5]),
        # Place 4, and of the others, which start over at place 1, the first.
        ([SWAP, 0.99, 0.0], [1, 13, 11, 12, 10, 2], [0, 1, 2, 3, 4, 5]),
        ([DELETE, 0.6, 0.0], [1, 10, 11, 13, 2], [0, 1, 2, 4, 5]),
        # After place 1 the token of place 4.
        ([INSERT, 0.0, 0.99], [1, 10, 13, 11, 12, 13, 2], [0, 1, 1, 2, 3, 4, 5]),
    ],
)
def test_one_edit_by_hand(draws: list[float], tokens: list[int], places: list[int]) -> None:
    assert edit_row(ROW, FREE, 0.1, np.array(draws), LONGEST) == (tokens, places)


def test_two_edits_by_hand() -> None:
    """Half of four tokens: the second edit sees what the first has left."""
    # 12 goes; of [1, 2, 3] the last is then 13's place.
    assert edit_row(ROW, FREE, 0.5, np.array([DELETE, 0.5, 0, 0.9, 0]), LONGEST) == ([1, 10, 11, 2], [0, 1, 2, 5])
    # 13 after 10; then, after the fifth free token (13 at its old place), the second: the new 13.
    tokens, places = edit_row(ROW, FREE, 0.5, np.array([INSERT, 0.0, 0.99, 0.99, 0.3]), LONGEST)
    assert tokens == [1, 10, 13, 11, 12, 13, 13, 2]
    assert places == [0, 1, 1, 2, 3, 4, 4, 5]


def test_what_cannot_be_edited_stays() -> None:
    one = [toys.CLS, 10, toys.SEP]
    assert edit_row([toys.CLS, toys.SEP], [], 0.5, np.array([0.5]), LONGEST)[0] == [toys.CLS, toys.SEP]
    assert edit_row(one, [1], 0.9, np.array([DELETE, 0, 0]), LONGEST)[0] == one
    assert edit_row(one, [1], 0.9, np.array([SWAP, 0, 0]), LONGEST)[0] == one
    full = [toys.CLS, *[10] * (LONGEST - 2), toys.SEP]
    assert edit_row(full, list(range(1, LONGEST - 1)), 0.9, np.full(1 + 2 * LONGEST, INSERT), LONGEST)[0] == full


def test_edits_never_touch_specials_and_invent_no_word() -> None:
    kinds = Counter()
    for seed in range(40):
        batch = toys.batch(seed=seed)
        edited = edit(batch, 0.3, toys.VOCABULARY, RowNoise(seed, 0, range(8)), LONGEST)
        for old, old_real, new, real in zip(
            batch.input_ids, batch.attention_mask.sum(1), edited.input_ids, edited.attention_mask, strict=True
        ):
            before, after = old[:old_real].tolist(), new[: real.sum()].tolist()
            assert real.tolist() == sorted(real.tolist(), reverse=True)
            assert new[real.sum() :].eq(toys.PAD).all()
            assert (after[0], after[-1]) == (toys.CLS, toys.SEP)
            assert not {toys.CLS, toys.SEP, toys.PAD, toys.MASK} & set(after[1:-1])
            assert set(after) <= set(before)
            if len(after) == len(before):
                assert Counter(after) == Counter(before)
            kinds[(len(after) > len(before)) - (len(after) < len(before))] += 1
    # 320 rows, each kind with chance 1/3: a standard error of 8.4.
    assert all(abs(count - 320 / 3) < 35 for count in kinds.values()), kinds


def test_edits_of_a_row_do_not_depend_on_its_company() -> None:
    batch = toys.batch()
    together = edit(batch, 0.2, toys.VOCABULARY, RowNoise(5, 0, range(8)), LONGEST)
    for i in range(8):
        length = int(batch.attention_mask[i].sum())
        alone = replace(
            batch,
            **{
                name: getattr(batch, name)[i : i + 1, :length]
                for name in ("input_ids", "attention_mask", "token_type_ids", "maskable")
            },
        )
        single = edit(alone, 0.2, toys.VOCABULARY, RowNoise(5, 0, [i]), LONGEST)
        width = single.input_ids.shape[1]
        assert torch.equal(single.input_ids[0], together.input_ids[i, :width])
        assert not together.attention_mask[i, width:].any()


def test_segments_go_with_their_tokens() -> None:
    """In a pair whose second text has the higher token numbers, each token keeps its text's segment."""
    ids = torch.tensor([[toys.CLS, 10, 11, 12, toys.SEP, 30, 31, 32, toys.SEP]])
    batch = replace(
        toys.batch(1, longest=9),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        maskable=ids > toys.MASK,
        token_type_ids=(torch.arange(9) > 4).long()[None],
    )
    lengths = set()
    for seed in range(30):
        edited = edit(batch, 0.2, toys.VOCABULARY, RowNoise(seed, 0, [0]), LONGEST)
        assert edited.token_type_ids is not None
        real = int(edited.attention_mask.sum())
        lengths.add(real)
        types, tokens = edited.token_type_ids[0, :real].tolist(), edited.input_ids[0, :real].tolist()
        assert types == sorted(types)
        assert types.count(0) == tokens.index(toys.SEP) + 1
    assert lengths == {8, 9, 10}


def test_vocabularies_without_segments_get_none() -> None:
    batch = replace(toys.batch(), token_type_ids=None)
    assert edit(batch, 0.2, toys.VOCABULARY, RowNoise(0, 0, range(8)), LONGEST).token_type_ids is None


@pytest.mark.parametrize(("kind", "config"), [(Eda, EdaConfig(edit_share=0.3)), (Glitter, GlitterConfig())])
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_no_row_grows_beyond_what_both_networks_read(kind: Any, config: Any, role: str) -> None:
    sizes = toys.bert_config(1, 8, 3)
    sizes.max_position_embeddings = 12
    short = HubClassifier(BertForSequenceClassification(sizes)).eval()
    method = kind(config, replace(toys.parts(), **{role: short}))
    for step in range(4):
        batch = toys.batch(seed=step, longest=12)
        assert method.loss(batch, STUDENT, RowNoise(3, step, range(8))).total.isfinite()
        assert method.invent(batch, RowNoise(3, step, range(8))) is not None

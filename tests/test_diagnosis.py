"""Diagnosis of invented inputs, by hand."""

import math
from dataclasses import replace

import pytest
import torch

import toys
from limbeck.diagnosis import diagnose
from limbeck.methods.base import Invented


def test_shares_flips_and_divergence_by_hand() -> None:
    batch = toys.batch(2, classes=2, longest=6)
    ids = torch.tensor([[1, 10, 11, 12, 13, 2], [1, 20, 21, 2, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    clean = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    batch = replace(batch, input_ids=ids, attention_mask=mask, teacher_logits=clean)
    new = ids.clone()
    new[0, 1], new[0, 2], new[1, 1] = 30, 30, 30
    changed = torch.zeros(2, 6, dtype=torch.bool)
    changed[0, 1] = changed[0, 2] = changed[0, 3] = changed[1, 1] = True
    invented = Invented(
        input_ids=new,
        changed=changed,
        teacher_logits=torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]),
        student_logits=torch.zeros(2, 2),
        perplexity=torch.tensor(42.0),
    )
    got = diagnose(batch, clean.numpy(), invented)
    assert got["invented/replaced_share"] == pytest.approx(3 / 10)
    assert got["invented/same_share"] == pytest.approx(1 / 4)
    assert got["invented/top_token_share"] == pytest.approx(3 / 4)
    assert got["invented/distinct_share"] == pytest.approx(2 / 4)
    assert got["invented/collapsed"] == 1
    assert got["invented/flip_rate"] == pytest.approx(1 / 2)
    assert got["invented/divergence_before"] == pytest.approx(0, abs=1e-7)
    # KL((3/4, 1/4) ‖ (1/2, 1/2)) for the first row, 0 for the second
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert got["invented/divergence_after"] == pytest.approx(kl / 2, rel=1e-6)
    assert got["invented/perplexity"] == 42


def test_a_generator_that_copies_is_no_collapse() -> None:
    batch = toys.batch(4, classes=2)
    logits = torch.zeros(4, 2)
    same = Invented(batch.input_ids, batch.maskable, logits, logits)
    got = diagnose(batch, logits.numpy(), same)
    assert got["invented/same_share"] == 1
    assert got["invented/collapsed"] == 0

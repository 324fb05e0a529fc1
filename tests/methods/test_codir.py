"""CoDIR against float64 NumPy: losses, negatives, and banks that belong to rows and not to places in a batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from limbeck.encoding import Batch
from limbeck.errors import UserError
from limbeck.methods.base import STUDENT, Parts
from limbeck.methods.codir import Banks, Codir, CodirConfig, Negatives
from limbeck.methods.kd import Kd, KdConfig
from limbeck.noise import RowNoise
from methods.test_contract import SETTING

K, P, TAU = 5, 6, 0.3
SETTINGS: dict[str, Any] = {"negatives": K, "projection": P, "contrast_temperature": TAU, "weight": 0.8}


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def state_of(method: Codir) -> dict[str, np.ndarray]:
    state = method.trainable[STUDENT].module.state_dict()
    return {key: value.double().numpy().copy() for key, value in state.items() if not key.startswith("0.")}


def represent(model: Any, weight: np.ndarray, layers: Sequence[int], batch: Batch, pooling: str) -> np.ndarray:
    """z of one network, from the model of the transformers library."""
    with torch.no_grad():
        out = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    lengths = batch.attention_mask.sum(1).tolist()
    hidden = [out.hidden_states[k].double().numpy() for k in layers]
    rows = [[h[i, :n].mean(0) if pooling == "mean" else h[i, 0] for h in hidden] for i, n in enumerate(lengths)]
    return unit(np.array(rows).reshape(len(lengths), -1) @ weight.T)


def drawn(batch: Batch, uniform: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The u·n-th of the n rows of other labels, in the order of labels and then of rows."""
    order = sorted(range(len(labels)), key=lambda row: (labels[row], row))
    out = []
    for row, line in zip(batch.rows.tolist(), uniform, strict=True):
        others = [other for other in order if labels[other] != labels[row]]
        out.append([others[int(u * len(others))] for u in line])
    return np.array(out)


def infonce(anchor: np.ndarray, own: np.ndarray, bank: np.ndarray, others: np.ndarray) -> float:
    right = np.exp((anchor * own).sum(1) / TAU)
    wrong = np.array([[np.exp(bank[j] @ a / TAU) for j in line] for a, line in zip(anchor, others, strict=True)])
    return float(np.mean(-np.log(right / (right + wrong.sum(1)))))


def nce(
    anchor: np.ndarray, bank: np.ndarray, rows: np.ndarray, others: np.ndarray, z: float | None
) -> tuple[float, float]:
    """The released code's loss, and its Z."""
    candidates = np.concatenate([rows[:, None], others], 1)
    e = np.array([[np.exp(bank[j] @ a / TAU) for j in line] for a, line in zip(anchor, candidates, strict=True)])
    z = float(e.mean() * len(bank)) if z is None else z
    p, chance = e / z, K / len(bank)
    loss = -(np.log(p[:, 0] / (p[:, 0] + chance)).sum() + np.log(chance / (p[:, 1:] + chance)).sum()) / len(anchor)
    return float(loss), z


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("contrast", ["infonce", "nce", "mse"])
def test_three_steps_in_numpy(contrast: str, pooling: str) -> None:
    """Loss and banks; the banks of a step's loss are those before it, and Z stays that of the first batch."""
    config = CodirConfig(**SETTINGS, contrast=contrast, pooling=pooling, momentum=0.7)
    parts = toys.parts()
    method = Codir(config, parts)
    before = state_of(method)
    banks = {name: before.get(f"2.{name}") for name in ("student", "teacher")}
    labels = parts.task.labels.numpy()
    z: list[float | None] = [None, None]
    for step, seed in enumerate((0, 1, 0)):
        batch = toys.batch(seed=seed, start=8 * seed)
        loss = method.loss(batch, STUDENT, RowNoise(3, step, range(8)))

        rows = batch.rows.numpy()
        student = represent(parts.student.model, before["1.projections.0.weight"], (1, 2), batch, pooling)
        teacher = represent(parts.teacher.model, before["1.projections.1.weight"], (1, 3), batch, pooling)
        if contrast == "mse":
            expected = float(((student - teacher) ** 2).sum(1).mean())
        else:
            others = drawn(batch, RowNoise(3, step, range(8)).uniform(K).double().numpy(), labels)
            pairs = ((student, teacher, banks["teacher"]), (teacher, student, banks["student"]))
            losses = []
            for i, (anchor, own, bank) in enumerate(pairs):
                assert bank is not None
                if contrast == "infonce":
                    losses.append(infonce(anchor, own, bank, others))
                else:
                    value, z[i] = nce(anchor, bank, rows, others, z[i])
                    losses.append(value)
            expected = float(np.mean(losses))
            for name, new in (("student", student), ("teacher", teacher)):
                bank = banks[name]
                assert bank is not None
                bank[rows] = unit(0.7 * bank[rows] + 0.3 * new)
                np.testing.assert_allclose(state_of(method)[f"2.{name}"], bank, atol=1e-5)
        assert loss.parts["contrast"].item() == pytest.approx(expected, rel=1e-4)
        assert loss.parts["cosine"].item() == pytest.approx((student * teacher).sum(1).mean(), abs=1e-5)
        with torch.no_grad():
            logits = parts.student(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        gold, soft = kd_terms(logits, batch)
        assert loss.total.item() == pytest.approx(0.5 * gold + 0.5 * soft + 0.8 * expected, rel=1e-4)


def kd_terms(logits: Tensor, batch: Batch) -> tuple[float, float]:
    z = logits.double().numpy()
    p, q = log_softmax(batch.teacher_logits.double().numpy() / 2), log_softmax(z / 2)
    gold = -log_softmax(z)[np.arange(len(z)), batch.labels.numpy()].mean()
    return float(gold), float(4 * (np.exp(p) * (p - q)).sum(1).mean())


def test_without_weight_it_is_kd() -> None:
    ours = Codir(CodirConfig(weight=0.0, temperature=3.0, distillation=0.4), toys.parts())
    theirs = Kd(KdConfig(weight=0.4, temperature=3.0), toys.parts())
    noise = RowNoise(0, 0, range(8))
    batch = toys.batch()
    assert ours.loss(batch, STUDENT, noise).total.item() == theirs.loss(batch, STUDENT, noise).total.item()


def test_negatives_are_uniform_over_the_rows_of_other_labels() -> None:
    labels = torch.tensor([2, 0, 2, 2, 1, 0, 2, 1])
    draws = Negatives(labels).draw(torch.arange(8), RowNoise(0, 0, range(8)).uniform(4000))
    for row in range(8):
        counts = torch.bincount(draws[row], minlength=8)
        others = (labels != labels[row]).nonzero().squeeze(1)
        assert counts[labels == labels[row]].sum() == 0
        # The standard error of a count is at most √(4000/4).
        assert (counts[others] - 4000 / len(others)).abs().max() < 4.5 * (4000 / len(others)) ** 0.5


def test_random_negatives_are_any_rows_but_the_own() -> None:
    rows = torch.tensor([0, 3, 5])
    draws = Negatives(torch.arange(6)).draw(rows, RowNoise(0, 0, range(3)).uniform(300))
    for row, line in zip(rows.tolist(), draws, strict=True):
        assert sorted(set(line.tolist())) == [other for other in range(6) if other != row]


@pytest.mark.parametrize("labels", [torch.zeros(4, dtype=torch.long), torch.zeros(1, dtype=torch.long)])
def test_nothing_to_tell_apart_is_refused(labels: Tensor) -> None:
    with pytest.raises(UserError, match=r"method\.negatives_from: .* nothing to tell them apart from"):
        Negatives(labels)


def test_a_row_that_comes_twice_is_renewed_once_by_its_last_place() -> None:
    banks = Banks(6, 2, seed=0)
    old = banks.student.double().numpy().copy()
    new = unit(np.random.default_rng(0).normal(size=(3, 2)))
    tensor = torch.tensor(new, dtype=torch.float32)
    banks.renew(torch.tensor([4, 1, 4]), tensor, tensor, 0.5)
    expected = old.copy()
    expected[[1, 4]] = unit(0.5 * old[[1, 4]] + 0.5 * new[[1, 2]])
    np.testing.assert_allclose(banks.student.numpy(), expected, atol=1e-6)


def test_banks_do_not_care_where_in_a_batch_or_in_which_batch_a_row_comes() -> None:
    def banks_after(batches: Sequence[tuple[Batch, Sequence[int]]]) -> dict[str, np.ndarray]:
        method = Codir(CodirConfig(**SETTINGS), toys.parts())
        for batch, places in batches:
            method.loss(batch, STUDENT, RowNoise(3, 0, places))
        return {key: value for key, value in state_of(method).items() if key in ("2.student", "2.teacher")}

    first, second = toys.batch(seed=1), toys.batch(seed=2, start=8)
    straight = banks_after([(first, range(8)), (second, range(8))])
    order = [5, 2, 7, 0, 1, 3, 6, 4]
    shuffled = banks_after([(lines(second, order), order), (lines(first, order), order)])
    for name, bank in straight.items():
        np.testing.assert_allclose(shuffled[name], bank, atol=1e-6)


def lines(batch: Batch, order: Sequence[int]) -> Batch:
    picked = toys.tensors(batch)
    return Batch(**{name: None if x is None else x[list(order)] for name, x in picked.items()})


def test_banks_start_by_the_seed_and_are_of_unit_length() -> None:
    torch.manual_seed(1)
    first = Banks(50, 4, seed=3)
    torch.manual_seed(2)
    second = Banks(50, 4, seed=3)
    assert torch.equal(first.student, second.student)
    assert not torch.equal(first.student, first.teacher)
    torch.testing.assert_close(first.teacher.norm(dim=1), torch.ones(50))


def test_the_published_layers() -> None:
    """Student layers 1–6 beside teacher layers 1, 3, …, 11, 4608 numbers of each."""
    parts: Parts = replace(toys.parts(), student=toys.classifier(6, 8), teacher=toys.classifier(12, 8).eval())
    config = CodirConfig(
        **SETTINGS, student_layers=(1, 2, 3, 4, 5, 6), teacher_layers=(1, 3, 5, 7, 9, 11), pooling="cls"
    )
    method = Codir(config, parts)
    shapes = {key: value.shape for key, value in state_of(method).items() if "projections" in key}
    assert shapes == {"1.projections.0.weight": (P, 48), "1.projections.1.weight": (P, 48)}
    batch = toys.batch()
    loss = method.loss(batch, STUDENT, RowNoise(0, 0, range(8)))
    state = state_of(method)
    student = represent(parts.student.model, state["1.projections.0.weight"], range(1, 7), batch, "cls")
    teacher = represent(parts.teacher.model, state["1.projections.1.weight"], range(1, 12, 2), batch, "cls")
    assert loss.parts["cosine"].item() == pytest.approx((student * teacher).sum(1).mean(), abs=1e-5)


def test_what_it_refuses() -> None:
    (problem,) = Codir.refuses(CodirConfig(), replace(SETTING, regression=True))
    assert str(problem) == (
        "method.negatives_from: other_labels needs classes, but the task is a regression: set it to random"
    )
    assert not Codir.refuses(CodirConfig(contrast="mse"), replace(SETTING, regression=True))
    with pytest.raises(ValueError, match=r"method\.negatives_from"):
        Codir(CodirConfig(), toys.parts(classes=0))
    both = Codir.refuses(CodirConfig(student_layers=(1, 9), teacher_layers=(4,)), SETTING)
    assert [problem.where for problem in both] == ["method.student_layers", "method.teacher_layers"]
    (problem,) = Codir.refuses(CodirConfig(), replace(SETTING, student_layers=4))
    assert problem.where == "method.student_layers"

"""L2A: what becomes a candidate, what is kept, what is learnt from and what is paid, by NumPy on linear networks."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import toys
from limbeck.encoding import Batch, padded
from limbeck.errors import UserError
from limbeck.methods.base import STUDENT, Parts, Setting, TaskFacts
from limbeck.methods.kd import Kd, KdConfig
from limbeck.methods.l2a import SELECTOR, L2a, L2aConfig, L2aWeights, reward_rows
from limbeck.models import GeneratorConfig
from limbeck.noise import RowNoise
from methods import linear


def noise(step: int = 0) -> RowNoise:
    return RowNoise(3, step, range(8))


def rewarded(method: L2a) -> set[int]:
    return set(method._reward_batch.rows.tolist())


def batch_of(method: L2a, parts: Parts, reward: bool) -> Batch:
    """Eight target rows that are all reward rows, or all not."""
    rows = [row for row in range(parts.task.rows) if (row in rewarded(method)) == reward][:8]
    return parts.pool.read(rows)


class Relabelled:
    """A pool in which some rows have other labels."""

    def __init__(self, rows: set[int]) -> None:
        self._pool, self._rows = toys.ToyRows(2 * toys.ROWS, 3), rows

    def __len__(self) -> int:
        return len(self._pool)

    def read(self, rows: Sequence[int]) -> Batch:
        batch = self._pool.read(rows)
        other = torch.tensor([row in self._rows for row in rows])
        return replace(batch, labels=(batch.labels + other) % 3)


# -- candidates -------------------------------------------------------------------------------------------------------


def test_reward_rows_are_stratified_and_few() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    rows = reward_rows(TaskFacts(3, 100, labels), 0.2, seed=0)
    assert torch.bincount(labels[rows]).tolist() == [12, 6, 2]
    assert reward_rows(TaskFacts(3, 100, labels), 0.2, seed=0).tolist() == rows.tolist()
    assert reward_rows(TaskFacts(3, 100, labels), 0.2, seed=1).tolist() != rows.tolist()
    many = torch.arange(6000) % 3
    assert len(reward_rows(TaskFacts(3, 6000, many), 0.2, seed=0)) == 64
    wide = torch.arange(400) % 80
    assert reward_rows(TaskFacts(3, 100, labels, unlabelled=90), 0.5, seed=0).max() < 10, "gold labels alone"
    assert len(reward_rows(TaskFacts(80, 400, wide), 0.2, seed=0)) == 80, "every class is among them"


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"training\.rows: 3, of which l2a sets 3 apart"):
        reward_rows(TaskFacts(3, 3, torch.arange(3)), 0.2, seed=0)


def test_candidates_start_from_sources_and_targets_but_never_from_reward_rows() -> None:
    parts = linear.parts()
    method = L2a(L2aConfig(candidates=5, source_share=0.3, sweeps=0), parts)
    seeds = np.concatenate([method._seeds(noise(step)) for step in range(100)])
    assert len(seeds) == 100 * 8 * 5
    assert not rewarded(method) & set(seeds.tolist())
    # 4,000 draws: a standard error of 0.007.
    assert (seeds >= toys.ROWS).mean() == pytest.approx(0.3, abs=0.03)
    own, foreign = set(range(toys.ROWS)) - rewarded(method), set(range(toys.ROWS, 2 * toys.ROWS))
    assert set(seeds.tolist()) == own | foreign


@pytest.mark.parametrize(("share", "pool"), [(0.0, 2 * toys.ROWS), (0.7, toys.ROWS)])
def test_without_share_or_sources_all_candidates_are_targets(share: float, pool: int) -> None:
    parts = linear.parts(pool=toys.ToyRows(pool, 3))
    seeds = L2a(L2aConfig(candidates=5, source_share=share, sweeps=0), parts)._seeds(noise())
    assert max(seeds) < toys.ROWS


def test_with_a_share_of_one_all_candidates_are_foreign() -> None:
    seeds = L2a(L2aConfig(candidates=5, source_share=1, sweeps=0), linear.parts())._seeds(noise())
    assert min(seeds) >= toys.ROWS


@pytest.mark.parametrize("sweeps", [0, 1, 4])
def test_sweeps_rewrite_words_and_nothing_else(sweeps: int) -> None:
    parts = toys.parts()
    method = L2a(L2aConfig(sweeps=sweeps, mask_rate=0.3, candidates=2), parts)
    made, seeds = method._candidates(noise()), parts.pool.read(method._seeds(noise()))
    changed = made.input_ids != seeds.input_ids
    assert not changed[~seeds.maskable].any()
    assert torch.equal(made.attention_mask, seeds.attention_mask)
    share = changed[seeds.maskable].float().mean().item()
    # A masked word comes back as itself now and then.
    assert share <= 1 - 0.7**sweeps + 0.1
    assert share >= 0.5 * (1 - 0.7**sweeps)


def test_candidates_are_as_wide_as_the_widest_worker() -> None:
    """Noise is drawn for each place, pads too, so a row's words must not hang on the worker it came to."""
    seen: list[Tensor] = []

    def gather(x: Tensor) -> Tensor:
        seen.append(x)
        return torch.cat([x, torch.full_like(x, 20)])

    made = L2a(L2aConfig(), toys.parts(gather=gather))._candidates(noise())
    assert seen[0].tolist() == [12]
    assert made.input_ids.shape == (8, 20)
    assert made.input_ids[:, 12:].eq(toys.PAD).all()


def test_padding_by_hand() -> None:
    batch = toys.batch(1, longest=5)
    wide = padded(batch, 7, toys.PAD)
    assert wide.input_ids.tolist() == [[*batch.input_ids[0].tolist(), toys.PAD, toys.PAD]]
    assert wide.attention_mask.tolist() == [[1, 1, 1, 1, 1, 0, 0]]
    assert wide.maskable.tolist() == [[False, True, True, True, False, False, False]]
    assert padded(replace(batch, token_type_ids=None), 7, toys.PAD).token_type_ids is None


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_states_by_numpy() -> None:
    """[CLS_T; CLS_S; p_T; p_S; loss_S; loss_T; similarity]: the first tokens' embeddings are the linear 'states'."""
    parts = linear.parts()
    method, batch = L2a(L2aConfig(sweeps=0), parts), toys.batch()
    states, teacher_logits, similarity = method._states(batch)
    student, teacher = linear.Numbers(parts.student), linear.Numbers(parts.teacher)
    z_t, z_s = (n.of(batch.input_ids, batch.attention_mask) for n in (teacher, student))
    first_t, first_s = (n.table[batch.input_ids[:, 0]] for n in (teacher, student))
    centroid = teacher.table[toys.CLS]
    cosine = (first_t @ centroid) / np.linalg.norm(first_t, axis=1) / np.linalg.norm(centroid)
    losses = [linear.cross_entropy(z, batch.labels)[:, None] for z in (z_s, z_t)]
    expected = np.hstack([first_t, first_s, linear.softmax(z_t), linear.softmax(z_s), *losses, cosine[:, None]])
    np.testing.assert_allclose(states.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(teacher_logits.numpy(), z_t, atol=1e-5)
    np.testing.assert_allclose(similarity.numpy(), cosine, atol=1e-6)


def kept(settings: dict[str, object], steps: int = 1, bias: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    """Who is kept, and how similar each is to the target; `bias` is the learned policy's logit for everyone."""
    config = L2aConfig.model_validate({"sweeps": 0, **settings})
    method, size = L2a(config, linear.parts()), 8 * config.candidates
    torch.nn.init.zeros_(method._selector.body[-1].weight)
    torch.nn.init.constant_(method._selector.body[-1].bias, bias)
    states, found = torch.zeros(size, method._selector.states.shape[2]), []
    for step in range(steps):
        similarity = torch.rand(size, generator=torch.Generator().manual_seed(step))
        found.append((method._keep(states, similarity, noise(step)), similarity))
    return found


def test_who_is_kept() -> None:
    for settings, bias in (({"selector": "random", "keep_rate": 0.3}, 0.0), ({"selector": "learned"}, math.log(3 / 7))):
        rates = [keep.mean().item() for keep, _ in kept({**settings, "candidates": 4}, 60, bias)]
        # 1,920 draws: a standard error of 0.01.
        assert np.mean(rates) == pytest.approx(0.3, abs=0.04)
    assert kept({"selector": "random", "keep_rate": 1.0})[0][0].tolist() == [1] * 8
    assert kept({"selector": "none"})[0][0].tolist() == [1] * 8
    keep, similarity = kept({"selector": "similarity", "keep_rate": 0.25})[0]
    assert set(keep.nonzero().flatten().tolist()) == set(similarity.topk(2).indices.tolist())


@pytest.mark.parametrize("selector", ["learned", "random", "similarity"])
def test_one_at_least_is_kept_and_only_one_when_none_would_be(selector: str) -> None:
    for keep, _ in kept({"selector": selector, "keep_rate": 1e-9}, 20, bias=-50.0):
        assert keep.sum() == 1


# -- what is learnt from ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", [False, True])
def test_student_loss_by_numpy(reward: bool) -> None:
    weights = L2aWeights(cross_entropy=0.5, distillation=0.8, augmented=1.3)
    parts = linear.parts()
    config = L2aConfig(sweeps=0, selector="similarity", candidates=2, temperature=1.5, weights=weights)
    method = L2a(config, parts)
    batch = batch_of(method, parts, reward)
    student, teacher = linear.Numbers(parts.student), linear.Numbers(parts.teacher)
    made = parts.pool.read(method._seeds(noise()))
    z_t, z_s = (n.of(made.input_ids, made.attention_mask) for n in (teacher, student))
    # Every text starts with [CLS], and here its embedding is the state: all are as similar, so all are kept.
    augmented = linear.kl(z_t, z_s, 1.5).mean()
    clean = student.of(batch.input_ids, batch.attention_mask)
    gold = linear.cross_entropy(clean, batch.labels).mean()
    soft = linear.kl(batch.teacher_logits.numpy(), clean, 1.5).mean()
    expected = 1.3 * augmented + (0 if reward else 0.5 * gold + 0.8 * soft)
    loss = method.loss(batch, STUDENT, noise())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.parts["keep_share"].item() == 1


def test_labels_of_reward_rows_never_enter_the_student_s_loss() -> None:
    parts = linear.parts()
    config = L2aConfig(sweeps=0, candidates=3)
    method = L2a(config, parts)
    mixed = parts.pool.read(range(8, 16))
    assert 0 < sum(row in rewarded(method) for row in range(8, 16)) < 8
    others = set(range(8, 16)) - rewarded(method)

    def total(changed: set[int]) -> float:
        pool = Relabelled(changed)
        again = L2a(config, replace(parts, pool=pool))
        return again.loss(pool.read(mixed.rows.tolist()), STUDENT, noise()).total.item()

    assert total(rewarded(method)) == total(set())
    assert total(others) != total(set())


def test_dropped_candidates_do_not_count() -> None:
    parts = linear.parts()
    method = L2a(L2aConfig(sweeps=0, selector="random", keep_rate=0.4), parts)
    loss, seeds, rng = method.loss(toys.batch(), STUDENT, noise()), method._seeds(noise()), noise()
    method._seeds(rng)
    keep = rng.uniform(1)[:, 0].numpy() < 0.4
    made = parts.pool.read([seed for seed, k in zip(seeds, keep, strict=True) if k])
    z_t, z_s = (linear.Numbers(n).of(made.input_ids, made.attention_mask) for n in (parts.teacher, parts.student))
    assert 0 < keep.sum() < 8
    assert loss.parts["keep_share"].item() == pytest.approx(keep.mean())
    assert loss.parts["augmented"].item() == pytest.approx(linear.kl(z_t, z_s).mean(), rel=1e-5)


def test_weight_zero_is_kd_on_rows_that_are_learnt_from() -> None:
    parts = toys.parts()
    weights = L2aWeights(cross_entropy=0.3, distillation=0.7, augmented=0)
    method = L2a(L2aConfig(temperature=3.0, weights=weights), parts)
    batch = batch_of(method, parts, reward=False)
    kd = Kd(KdConfig(temperature=3.0, weight=0.7), parts).loss(batch, STUDENT, noise()).total
    assert method.loss(batch, STUDENT, noise()).total.item() == pytest.approx(kd.item(), rel=1e-6)


def test_networks_that_agree_agree_on_candidates() -> None:
    parts = linear.parts()
    same = L2a(L2aConfig(sweeps=0), replace(parts, teacher=parts.student))
    assert same.loss(toys.batch(), STUDENT, noise()).parts["augmented"].item() == pytest.approx(0, abs=1e-6)


def test_means_are_over_all_workers_rows() -> None:
    """This worker has one of three rows that count: its part of the mean, times two workers."""

    def other(x: Tensor) -> Tensor:
        return torch.cat([x, torch.tensor([1.0, 1.0])])

    method = L2a(L2aConfig(sweeps=0), replace(linear.parts(), gather=other))
    assert method._mean(torch.tensor([6.0, 9.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx(2 * 6 / 3)


# -- what is paid -----------------------------------------------------------------------------------------------------


def test_schedule() -> None:
    method = L2a(L2aConfig(window=3), toys.parts())
    assert [method.phase(step) for step in range(9)] == 2 * ([STUDENT] * 3 + [SELECTOR]) + [STUDENT]
    for selector in ("random", "similarity", "none"):
        method = L2a(L2aConfig.model_validate({"window": 3, "selector": selector}), toys.parts())
        assert {method.phase(step) for step in range(9)} == set(method.trainable) == {STUDENT}


@pytest.mark.parametrize("reward", ["loss", "metric"])
def test_the_pay_is_the_change_of_the_score_on_the_reward_rows(reward: str) -> None:
    parts = linear.parts()
    method = L2a(L2aConfig.model_validate({"sweeps": 0, "window": 3, "reward": reward}), parts)
    rows = parts.pool.read(sorted(rewarded(method)))
    scores = []
    for step in range(4):
        logits = linear.Numbers(parts.student).of(rows.input_ids, rows.attention_mask)
        right = logits.argmax(1) == rows.labels.numpy()
        scores.append(right.mean() if reward == "metric" else -linear.cross_entropy(logits, rows.labels).mean())
        loss = method.loss(toys.batch(seed=step), method.phase(step), noise(step))
        with torch.no_grad():
            parts.student.matrix += torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
    np.testing.assert_allclose(method._selector.rewards.numpy(), np.diff(scores), atol=1e-5)
    assert np.abs(np.diff(scores)).max() > 0.01
    assert loss.parts["selector_reward"].item() == pytest.approx(np.diff(scores).mean(), abs=1e-5)


def test_the_window_holds_what_the_policy_saw_and_did() -> None:
    parts = linear.parts()
    method = L2a(L2aConfig(sweeps=0, window=2), parts)
    for step in range(2):
        made = parts.pool.read(method._seeds(noise(step)))
        states = method._states(made)[0]
        method.loss(toys.batch(), STUDENT, noise(step))
        torch.testing.assert_close(method._selector.states[step], states)
    assert set(method._selector.actions.flatten().tolist()) <= {0.0, 1.0}


def test_inventions_tell_their_perplexity() -> None:
    """Of the words of the last sweep, under the generator: against all scores at every place."""
    parts, batch = toys.parts(), toys.batch()
    method = L2a(L2aConfig(mask_rate=0.3), parts)
    invented = method.invent(batch, noise())
    assert invented is not None
    assert invented.perplexity is not None
    hidden = (noise().uniform(12) < 0.3) & batch.maskable
    masked = batch.input_ids.masked_fill(hidden, toys.MASK)
    scores = parts.new_generator(GeneratorConfig())(masked, batch.attention_mask, batch.token_type_ids).log_softmax(-1)
    surprise = [-scores[b, p, invented.input_ids[b, p]].item() for b, p in hidden.nonzero().tolist()]
    assert invented.perplexity.item() == pytest.approx(np.exp(np.mean(surprise)), rel=1e-4)
    assert torch.equal(invented.changed, hidden)
    assert L2a(L2aConfig(sweeps=0), parts).invent(batch, noise()) is None


def test_what_is_refused() -> None:
    fine = Setting(
        regression=False,
        masked_lm=True,
        sources=1,
        student_layers=2,
        student_width=8,
        teacher_layers=3,
        teacher_width=16,
    )
    assert not L2a.refuses(L2aConfig(), fine)
    alone, wordless = replace(fine, sources=0), replace(fine, masked_lm=False)
    assert [p.where for p in L2a.refuses(L2aConfig(), alone)] == ["method.source_share"]
    assert "set it to 0" in L2a.refuses(L2aConfig(), alone)[0].what
    assert not L2a.refuses(L2aConfig(source_share=0), alone)
    assert [p.where for p in L2a.refuses(L2aConfig(), wordless)] == ["teacher"]
    assert not L2a.refuses(L2aConfig(sweeps=0), wordless)
    assert len(L2a.refuses(L2aConfig(), replace(fine, sources=0, masked_lm=False))) == 2

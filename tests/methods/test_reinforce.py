"""The selector's mathematics: returns by hand, and its gradient against an enumerated bandit."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from limbeck.methods.reinforce import Selector, discounted, policy_loss


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_returns_by_hand() -> None:
    rewards = torch.tensor([1.0, 0.0, -2.0, 4.0])
    torch.testing.assert_close(discounted(rewards, 0.5), torch.tensor([1.0, 0.0, 0.0, 4.0]))
    torch.testing.assert_close(discounted(rewards, 0.9), torch.tensor([2.296, 1.44, 1.6, 4.0]))
    assert discounted(rewards, 1.0).tolist() == [3.0, 2.0, 2.0, 4.0]
    assert discounted(rewards, 0.0).tolist() == rewards.tolist()


def test_policy_loss_by_hand() -> None:
    """Two steps of two candidates: log π of what was done is ln ¾, ln ¼; ln ½, ln ½."""
    logits = torch.tensor([[np.log(3), np.log(3)], [0.0, 0.0]])
    actions, advantages = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([2.0, -1.0])
    chosen = 2 * (np.log(3 / 4) + np.log(1 / 4)) - 2 * np.log(1 / 2)
    entropy = 2 * (-3 / 4 * np.log(3 / 4) - 1 / 4 * np.log(1 / 4)) + 2 * np.log(2)
    assert policy_loss(logits, actions, advantages, 0.0).item() == pytest.approx(-chosen / 4, rel=1e-6)
    expected = -chosen / 4 - 0.3 * entropy / 4
    assert policy_loss(logits, actions, advantages, 0.3).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_of_the_policy_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, generator=draw, dtype=torch.float64, requires_grad=True)
    actions = (torch.rand(3, 2, generator=draw) < 0.5).double()
    advantages = torch.randn(3, generator=draw, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda z, a: policy_loss(z, actions, a, 0.2), (logits, advantages))


PAY = {(0, 0): 0.3, (0, 1): -1.0, (1, 0): 2.0, (1, 1): 0.7}
"""What keeping or dropping the candidates of a bandit of two states pays."""


@pytest.mark.parametrize("baseline", [0.0, 0.8])
def test_the_gradient_is_that_of_the_expected_pay(baseline: float) -> None:
    """All four actions enumerated, against finite differences of Σ π(a)·pay(a); a baseline does not bend it."""
    theta = np.array([0.4, -0.7])

    def chance(z: np.ndarray, action: tuple[int, int]) -> float:
        keep = sigmoid(z)
        return float(np.prod([p if a else 1 - p for p, a in zip(keep, action, strict=True)]))

    def expected_pay(z: np.ndarray) -> float:
        return sum(chance(z, action) * pay for action, pay in PAY.items())

    ours = np.zeros(2)
    for action in product((0, 1), repeat=2):
        leaf = torch.tensor(theta[None], requires_grad=True)
        advantage = torch.tensor([PAY[action] - baseline], dtype=torch.float64)
        policy_loss(leaf, torch.tensor([action], dtype=torch.float64), advantage, 0.0).backward()
        assert leaf.grad is not None
        ours += chance(theta, action) * leaf.grad.numpy()[0]
    steps = 1e-6 * np.eye(2)
    slopes = [(expected_pay(theta + h) - expected_pay(theta - h)) / 2e-6 for h in steps]
    np.testing.assert_allclose(-2 * ours, slopes, rtol=1e-6)


def test_the_entropy_bonus_is_the_entropy() -> None:
    theta = np.array([0.4, -0.7])

    def entropy(z: np.ndarray) -> float:
        p = sigmoid(z)
        return float((-p * np.log(p) - (1 - p) * np.log(1 - p)).mean())

    leaf = torch.tensor(theta[None], requires_grad=True)
    policy_loss(leaf, torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 0.5).backward()
    assert leaf.grad is not None
    slopes = [(entropy(theta + h) - entropy(theta - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
    np.testing.assert_allclose(leaf.grad.numpy()[0], -0.5 * np.array(slopes), rtol=1e-5)


def selector(window: int, candidates: int = 2) -> Selector:
    torch.manual_seed(0)
    return Selector((window, candidates, 3), 4, torch.zeros(1))


def test_rewards_are_changes_of_the_score() -> None:
    """Scores before each of three steps and at the window's end, over two windows."""
    policy, blank = selector(3), torch.zeros(2, 3)
    for scores, rewards in (([5.0, 5.5, 5.2, 7.0], [0.5, -0.3, 1.8]), ([7.0, 6.0, 6.5, 6.4], [-1.0, 0.5, -0.1])):
        for score in scores[:3]:
            policy.see(torch.tensor(score))
            policy.remember(blank, torch.ones(2))
        policy.see(torch.tensor(scores[3]))
        torch.testing.assert_close(policy.rewards, torch.tensor(rewards))
        policy.lesson(0.9, 0.0, 0.5)
        assert policy.cursor == 0


def test_a_lesson_is_the_policy_loss_of_the_window_and_moves_the_baseline() -> None:
    policy = selector(2)
    states = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(1))
    actions = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for step, score in enumerate((1.0, 3.0)):
        policy.see(torch.tensor(score))
        policy.remember(states[step], actions[step])
    policy.see(torch.tensor(2.0))
    policy.baseline.fill_(0.4)
    # Rewards 2 and −1, so returns 2 − 0.5 = 1.5 and −1, less the baseline.
    expected = policy_loss(policy(states), actions, torch.tensor([1.1, -1.4]), 0.1)
    torch.testing.assert_close(policy.lesson(0.5, 0.1, 0.9), expected)
    assert policy.baseline.item() == pytest.approx(0.9 * 0.4 + 0.1 * 0.25)


def test_it_learns_whom_to_keep() -> None:
    """Candidates of one kind raise the score when kept, those of the other lower it."""
    policy, draw = selector(4, candidates=6), torch.Generator().manual_seed(2)
    adam = torch.optim.Adam(policy.parameters(), lr=0.02)
    kinds = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    score = torch.zeros(())
    for _ in range(80):
        for _ in range(4):
            states = kinds[(torch.rand(6, generator=draw) < 0.5).long()]
            keep = (torch.rand(6, generator=draw) < torch.sigmoid(policy(states))).float()
            policy.see(score)
            policy.remember(states, keep)
            score = score + (keep * (states[:, 0] - states[:, 1])).sum().detach()
        policy.see(score)
        adam.zero_grad()
        policy.lesson(0.0, 0.0, 0.9).backward()
        adam.step()
    good, bad = torch.sigmoid(policy(kinds)).tolist()
    assert good > 0.9
    assert bad < 0.1

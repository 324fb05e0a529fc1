"""A policy that keeps or drops, taught by REINFORCE: what it saw and did in a window, and what came of it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class Selector(nn.Module):
    """The policy, and all that must survive a checkpoint: what it saw of M candidates a step, and its baseline."""

    centroid: Tensor
    states: Tensor
    actions: Tensor
    rewards: Tensor
    cursor: Tensor
    last_score: Tensor
    baseline: Tensor

    def __init__(self, shape: tuple[int, int, int], hidden: int, centroid: Tensor) -> None:
        """`shape` is (window, M, F): F features of a candidate; `centroid` is kept for the caller."""
        window, candidates, features = shape
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.register_buffer("centroid", centroid)
        self.register_buffer("states", torch.zeros(shape))
        self.register_buffer("actions", torch.zeros(window, candidates))
        self.register_buffer("rewards", torch.zeros(window))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.long))
        self.register_buffer("last_score", torch.zeros(()))
        self.register_buffer("baseline", torch.zeros(()))

    def forward(self, states: Tensor) -> Tensor:
        """(…, F) → (…) float32 logits of keeping."""
        out: Tensor = self.body(states.float()).squeeze(-1)
        return out.float()

    def see(self, score: Tensor) -> None:
        """Take the student's score before a step: its change since the step before is that step's reward.

        Before a window's first step this writes to its last reward, which is written again when the window ends.
        """
        self.rewards[self.cursor - 1] = score - self.last_score
        self.last_score.copy_(score)

    def remember(self, states: Tensor, actions: Tensor) -> None:
        """Keep the (M, F) states and (M,) actions of one student step."""
        self.states[self.cursor] = states.float()
        self.actions[self.cursor] = actions.float()
        self.cursor += 1

    def lesson(self, discount: float, entropy: float, momentum: float) -> Tensor:
        """The policy loss of the window that has ended; moves the baseline and starts the next window."""
        returns = discounted(self.rewards, discount)
        loss = policy_loss(self(self.states), self.actions, returns - self.baseline, entropy)
        self.baseline.copy_(momentum * self.baseline + (1 - momentum) * returns.mean())
        self.cursor.zero_()
        return loss


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """(T,) → (T,): G_t = Σ_{k>=t} γ^(k−t) r_k."""
    steps = torch.arange(len(rewards), device=rewards.device)
    ahead = (steps[None] - steps[:, None]).clamp(min=0)
    return (torch.triu(torch.tensor(discount, device=rewards.device) ** ahead) * rewards[None]).sum(1)


def policy_loss(keep_logits: Tensor, actions: Tensor, advantages: Tensor, entropy: float) -> Tensor:
    """REINFORCE with an entropy bonus: −mean_t A_t·mean_i log π(a_ti | s_ti) − β·mean H(π).

    keep_logits, actions (T, M); advantages (T,). In the mean over actions its gradient is that of −E[Σ_t A_t]/(T·M),
    less β times that of the entropy.
    *Source* Williams 1992, equation 4.
    """
    surprise = binary_cross_entropy_with_logits(keep_logits, actions, reduction="none")
    doubt = binary_cross_entropy_with_logits(keep_logits, torch.sigmoid(keep_logits), reduction="none")
    return (advantages[:, None] * surprise).mean() - entropy * doubt.mean()

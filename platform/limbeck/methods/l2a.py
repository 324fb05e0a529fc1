"""Learning to augment for data-scarce domains: rewrite source and target sentences, and learn which ones help.

1. Candidates: a source or target sentence; repeat {mask a share r, resample from the masked LM}; the teacher labels.
2. Selector: π(keep | s) = sigmoid(MLP(s)), s = [CLS_T; CLS_S; p_T; p_S; loss_S; loss_T; similarity to the target].
3. Student: w_ce·CE + w_kd·KL on target rows, w_aug·KL on the kept candidates.
4. Reward after each student step: the change of the student's score on rows of the target's *training* data that it
   never learns from; return G_t = Σ_k γ^(k−t) r_k within a window; REINFORCE with a running-mean baseline and an
   entropy bonus.

*Source* Feng, Li, Huang, Zhang 2021, arXiv 2101.08106 (no released code): abstract and public notes.
*Differs from the source*: see docs/methods/l2a.md, which numbers every choice the paper leaves open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.config import Config
from limbeck.encoding import Batch
from limbeck.errors import Problem
from limbeck.methods.base import STUDENT, Invented, MethodConfig, Parts, Setting, StepLoss, Trainable, evaluating
from limbeck.methods.losses import divergence_rows, supervised_rows
from limbeck.methods.masking import invent_inputs, mask_id, no_generator
from limbeck.models import Classifier, GeneratorConfig
from limbeck.noise import RowNoise
from limbeck.tasks import subsample

SELECTOR = "selector"
MAX_REWARD_ROWS = 64


class L2aWeights(Config):
    """Weights of the student's loss."""

    cross_entropy: NonNegativeFloat = 1 / 3
    distillation: NonNegativeFloat = 1 / 3
    augmented: NonNegativeFloat = 1 / 3


class L2aConfig(MethodConfig):
    """Every number is our choice: the paper prints none of them in public."""

    name: Literal["l2a"] = "l2a"
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """r: share of tokens resampled in a sweep."""
    sweeps: Annotated[int, Field(ge=0)] = 1
    """Resampling passes; 0 takes sentences as they are (no generator)."""
    candidates: PositiveInt = 1
    """Candidates for each row of the batch."""
    source_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a candidate starts from a source task's sentence."""
    selector: Literal["learned", "random", "similarity", "none"] = "learned"
    """Who keeps: the learned policy; chance, or closeness to the target, at `keep_rate`; or everything is kept."""
    keep_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    selector_hidden: PositiveInt = 64
    selector_learning_rate: PositiveFloat = 1e-3
    window: PositiveInt = 10
    """Student steps between two selector steps."""
    discount: Annotated[float, Field(ge=0, le=1)] = 0.9
    entropy: NonNegativeFloat = 0.01
    baseline_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    reward_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the target's training rows kept for the reward (64 at most); the student never learns from them."""
    reward: Literal["metric", "loss"] = "loss"
    """Change of the accuracy (or squared error) on the reward rows, or of the loss there, which is finer."""
    temperature: PositiveFloat = 1.0
    weights: L2aWeights = L2aWeights()
    generator: GeneratorConfig = GeneratorConfig()


class Selector(nn.Module):
    """The policy, and all that must survive a checkpoint: what it saw and did in this window, and its baseline."""

    centroid: Tensor
    states: Tensor
    actions: Tensor
    rewards: Tensor
    cursor: Tensor
    last_score: Tensor
    baseline: Tensor

    def __init__(self, shape: tuple[int, int, int], hidden: int, centroid: Tensor) -> None:
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
        """(…, F) → (…) logits of keeping."""
        return self.body(states.float()).squeeze(-1)  # type: ignore[no-any-return]

    def see(self, score: Tensor) -> None:
        """Take the student's score before a step: its change since the step before is that step's reward."""
        if self.cursor > 0:
            self.rewards[self.cursor - 1] = score - self.last_score
        self.last_score.copy_(score)

    def remember(self, states: Tensor, actions: Tensor) -> None:
        """Keep the (M, F) states and (M,) actions of one student step."""
        self.states[self.cursor] = states.float()
        self.actions[self.cursor] = actions.float()
        self.cursor += 1


class L2a:
    """A student between few target rows and many rewritten ones, and a selector paid by its progress."""

    Config: ClassVar = L2aConfig

    def __init__(self, config: L2aConfig, parts: Parts) -> None:
        self._config, self._parts = config, parts
        self._generator = parts.new_generator(config.generator) if config.sweeps else None
        self._mask = mask_id(parts) if config.sweeps else 0
        device = parts.task.labels.device
        count = min(MAX_REWARD_ROWS, max(2, parts.task.classes, round(config.reward_share * parts.task.rows)))
        chosen = subsample(parts.task.labels.cpu().numpy(), count, parts.seed)
        self._reward_rows = torch.zeros(parts.task.rows, dtype=torch.bool, device=device)
        self._reward_rows[torch.from_numpy(chosen).to(device)] = True
        self._reward_batch = parts.pool.read(chosen.tolist())
        first, teacher_cls = read_first(parts.teacher, self._reward_batch)
        student_cls = read_first(parts.student, self._reward_batch)[1]
        width = teacher_cls.shape[1] + student_cls.shape[1] + 2 * first.shape[1] + 3
        with torch.random.fork_rng():
            torch.manual_seed(parts.seed)
            shape = (config.window, config.candidates * parts.batch_size, width)
            selector = Selector(shape, config.selector_hidden, self._centroid())
        self._selector = selector.to(device)

    def _centroid(self) -> Tensor:
        """(d_T,) mean of the teacher's first-token states over at most 512 of the target's training rows."""
        rows = np.linspace(0, self._parts.task.rows - 1, min(512, self._parts.task.rows)).astype(int)
        pieces = [piece.tolist() for piece in np.array_split(rows, 16) if len(piece)]
        read = [read_first(self._parts.teacher, self._parts.pool.read(piece))[1] for piece in pieces]
        return torch.cat(read).mean(0)

    @staticmethod
    def refuses(config: L2aConfig, setting: Setting) -> Sequence[Problem]:
        """Rewriting without a mask token; candidates from source tasks where there are none."""
        found = list(no_generator(setting)) if config.sweeps else []
        if config.source_share and not setting.sources:
            what = (
                f"{config.source_share} of the candidates start from source tasks, but the plan has none: "
                "list some under `sources`, or set it to 0"
            )
            found.append(Problem("method.source_share", what))
        return found

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """The student, and the selector where one learns."""
        student = {STUDENT: Trainable(self._parts.student)}
        if self._config.selector != "learned":
            return student
        return {**student, SELECTOR: Trainable(self._selector, self._config.selector_learning_rate, weight_decay=0.0)}

    def phase(self, step: int) -> str:
        """`window` student steps, then one of the selector."""
        learned = self._config.selector == "learned"
        return SELECTOR if learned and step % (self._config.window + 1) == self._config.window else STUDENT

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The student's three terms, or the selector's policy loss over the window that has just ended."""
        return self._student_loss(batch, noise) if phase == STUDENT else self._selector_loss()

    # -- candidates -----------------------------------------------------------------------------------------------

    def _seeds(self, noise: RowNoise) -> list[int]:
        """(B·c,) numbers in the pool that the candidates start from."""
        rows, total = self._parts.task.rows, len(self._parts.pool)
        draws = noise.uniform(2 * self._config.candidates).reshape(-1, 2).tolist()
        share = self._config.source_share if total > rows else 0.0
        return [rows + int(place * (total - rows)) if kind < share else int(place * rows) for kind, place in draws]

    @torch.no_grad()
    def _candidates(self, noise: RowNoise) -> Batch:
        """B·c sentences after the resampling sweeps."""
        batch = self._parts.pool.read(self._seeds(noise))
        if self._generator is None:
            return batch
        streams = noise.repeated(self._config.candidates)
        for _ in range(self._config.sweeps):
            tokens, _ = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, streams)
            batch = with_tokens(batch, tokens)
        return batch

    @torch.no_grad()
    def _states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Selector states (M, F), the teacher's logits (M, C), and similarity to the target (M,)."""
        regression = self._parts.task.regression
        teacher, teacher_cls = read_first(self._parts.teacher, batch)
        with evaluating(self._parts.student):
            student, student_cls = read_first(self._parts.student, batch)
        similarity = torch.cosine_similarity(teacher_cls, self._selector.centroid[None], dim=1)
        says = [z if regression else z.softmax(-1) for z in (teacher, student)]
        losses = [supervised_rows(z, batch.labels).unsqueeze(1) for z in (student, teacher)]
        return torch.cat([teacher_cls, student_cls, *says, *losses, similarity[:, None]], 1), teacher, similarity

    @torch.no_grad()
    def _keep(self, states: Tensor, similarity: Tensor, noise: RowNoise) -> Tensor:
        """(M,) 1 for kept candidates; at least one of all workers' candidates is kept."""
        config = self._config
        draws = noise.uniform(config.candidates).reshape(-1)
        if config.selector == "none":
            return torch.ones_like(draws)
        if config.selector == "similarity":
            everyone = self._parts.gather(similarity)
            return (similarity >= everyone.quantile(1 - config.keep_rate)).float()
        chance = torch.full_like(draws, config.keep_rate)
        if config.selector == "learned":
            chance = torch.sigmoid(self._selector(states))
        keep = (draws < chance).float()
        if self._parts.gather(keep).sum() == 0:
            keep = (chance >= self._parts.gather(chance).max()).float()
        return keep

    # -- the student ----------------------------------------------------------------------------------------------

    def _student_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, config = self._parts, self._config
        made = self._candidates(noise)
        states, teacher, similarity = self._states(made)
        keep = self._keep(states, similarity, noise)
        if config.selector == "learned":
            self._selector.see(self._score())
            self._selector.remember(parts.gather(states), parts.gather(keep))
        clean, other = logits(parts.student, batch), logits(parts.student, made)
        learn = (~self._reward_rows[batch.rows]).float()

        def soft(teacher: Tensor, student: Tensor) -> Tensor:
            return divergence_rows(teacher, student, "kl", config.temperature, parts.task.regression)

        terms = {
            "cross_entropy": self._mean(supervised_rows(clean, batch.labels), learn),
            "distillation": self._mean(soft(batch.teacher_logits, clean), learn),
            "augmented": self._mean(soft(teacher, other), keep),
        }
        total = sum((getattr(config.weights, name) * term for name, term in terms.items()), clean.new_zeros(()))
        return StepLoss(total, {**{k: v.detach() for k, v in terms.items()}, "keep_share": keep.mean()})

    def _mean(self, values: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean over all workers' rows, in the form whose average over workers it is."""
        everyone = self._parts.gather(weights)
        workers = len(everyone) / len(weights)
        return workers * (values * weights).sum() / everyone.sum().clamp(min=1)

    @torch.no_grad()
    def _score(self) -> Tensor:
        """() the student on the reward rows: higher is better."""
        batch = self._reward_batch
        with evaluating(self._parts.student):
            said = logits(self._parts.student, batch)
        if self._config.reward == "metric" and not self._parts.task.regression:
            return (said.argmax(-1) == batch.labels).float().mean()
        return -supervised_rows(said, batch.labels).mean()

    # -- the selector ---------------------------------------------------------------------------------------------

    def _selector_loss(self) -> StepLoss:
        selector, config = self._selector, self._config
        selector.see(self._score())
        seen = int(selector.cursor)
        returns = discounted(selector.rewards[:seen], config.discount)
        total = policy_loss(
            selector(selector.states[:seen]), selector.actions[:seen], returns - selector.baseline, config.entropy
        )
        momentum = config.baseline_momentum
        selector.baseline.copy_(momentum * selector.baseline + (1 - momentum) * returns.mean())
        selector.cursor.zero_()
        reward = selector.rewards[:seen].mean()
        return StepLoss(total, {"selector_reward": reward, "selector_baseline": selector.baseline.clone()})

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The batch's own sentences after the resampling sweeps; nothing where there is no generator."""
        if self._generator is None:
            return None
        made, changed = batch, torch.zeros_like(batch.maskable)
        for _ in range(self._config.sweeps):
            tokens, masked = invent_inputs(self._generator, made, self._config.mask_rate, self._mask, noise)
            made, changed = with_tokens(made, tokens), changed | masked.hidden
        return Invented(
            input_ids=made.input_ids,
            changed=changed,
            teacher_logits=logits(self._parts.teacher, made),
            student_logits=logits(self._parts.student, made),
        )


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """(T,) → (T,): G_t = Σ_{k>=t} γ^(k−t) r_k."""
    steps = torch.arange(len(rewards), device=rewards.device)
    ahead = (steps[None] - steps[:, None]).clamp(min=0)
    return (torch.triu(torch.tensor(discount, device=rewards.device) ** ahead) * rewards[None]).sum(1)


def policy_loss(keep_logits: Tensor, actions: Tensor, advantages: Tensor, entropy: float) -> Tensor:
    """REINFORCE: −mean_t A_t·mean_i log π(a_ti | s_ti) − β·mean H(π).

    keep_logits, actions (T, M); advantages (T,). The gradient is that of −E[return] for fixed advantages.
    *Source* Williams 1992, equation 4.
    """
    chosen = -nn.functional.binary_cross_entropy_with_logits(keep_logits, actions, reduction="none")
    chance = torch.sigmoid(keep_logits)
    surprise = nn.functional.binary_cross_entropy_with_logits(keep_logits, chance, reduction="none")
    return -(advantages[:, None] * chosen).mean() - entropy * surprise.mean()


def logits(classifier: Classifier, batch: Batch) -> Tensor:
    """(B, C) float32."""
    out = classifier(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
    )
    return out.logits.float()


@torch.no_grad()
def read_first(classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and the last layer's first-token state (B, d), float32."""
    out = classifier(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        token_type_ids=batch.token_type_ids,
        hidden=True,
    )
    assert out.hidden is not None
    return out.logits.float(), out.hidden[-1][:, 0].float()


def with_tokens(batch: Batch, tokens: Tensor) -> Batch:
    """The batch with other tokens in the same places."""
    return replace(batch, input_ids=tokens)

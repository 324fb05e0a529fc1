"""Learning to augment for data-scarce domains: rewrite source and target sentences, and learn which ones help.

1. Candidates: a source or target sentence; repeat {mask a share r, resample from the masked LM}; the teacher labels.
2. Selector: π(keep | s) = sigmoid(MLP(s)), s = [CLS_T; CLS_S; p_T; p_S; loss_S; loss_T; similarity to the target].
3. Student: w_ce·CE + w_kd·KL on target rows, w_aug·KL on the kept candidates.
4. Reward after each student step: the change of the student's score on rows of the target's *training* data that it
   never learns from; return G_t = Σ_k γ^(k−t) r_k within a window; REINFORCE with a running-mean baseline and an
   entropy bonus.

*Source* Feng, Qiu, Li, Zheng, Shen 2021, arXiv 2101.08106 (no released code): abstract and public notes.
*Differs from the source*: see docs/methods/l2a.md, which numbers every choice the paper leaves open.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.config import Config
from limbeck.encoding import Batch
from limbeck.errors import Problem, UserError
from limbeck.methods.base import (
    STUDENT,
    Invented,
    MethodConfig,
    Parts,
    Setting,
    StepLoss,
    TaskFacts,
    Trainable,
    evaluating,
)
from limbeck.methods.losses import divergence_rows, supervised_rows
from limbeck.methods.masking import (
    Masked,
    equally_wide,
    invent_inputs,
    logits_of,
    mask_id,
    no_generator,
    perplexity,
)
from limbeck.methods.pieces import by_pieces
from limbeck.methods.reinforce import Selector
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
    """Share of the target's training rows kept for the reward (64 at most, but one a class): never learnt from."""
    reward: Literal["metric", "loss"] = "loss"
    """Change of the accuracy (or squared error) on the reward rows, or of the loss there, which is finer."""
    temperature: PositiveFloat = 1.0
    weights: L2aWeights = L2aWeights()
    generator: GeneratorConfig = GeneratorConfig()

    def generators(self) -> Iterator[GeneratorConfig]:
        """None where sentences are taken as they are."""
        return super().generators() if self.sweeps else iter(())


class L2a:
    """A student between few target rows and many rewritten ones, and a selector paid by its progress."""

    Config: ClassVar = L2aConfig

    def __init__(self, config: L2aConfig, parts: Parts) -> None:
        self._config, self._parts = config, parts
        self._generator = parts.new_generator(config.generator) if config.sweeps else None
        self._mask = mask_id(parts) if config.sweeps else 0
        device = parts.task.labels.device
        chosen = reward_rows(parts.task, config.reward_share, parts.seed)
        self._reward_batch = parts.pool.read(chosen.tolist())
        learns = np.ones(parts.task.rows, bool)
        learns[chosen] = False
        self._own_rows = np.flatnonzero(learns).tolist()
        self._learns = torch.from_numpy(learns).to(device)
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
        """(B·c,) numbers in the pool that the candidates start from: never those of reward rows."""
        own, rows, total = self._own_rows, self._parts.task.rows, len(self._parts.pool)
        draws = noise.uniform(2 * self._config.candidates).reshape(-1, 2).tolist()
        share = self._config.source_share if total > rows else 0.0
        return [
            rows + int(place * (total - rows)) if kind < share else own[int(place * len(own))] for kind, place in draws
        ]

    @torch.no_grad()
    def _candidates(self, noise: RowNoise) -> Batch:
        """B·c sentences after the resampling sweeps, as wide as the widest of all workers: a row's noise is as wide."""
        batch = equally_wide(self._parts.pool.read(self._seeds(noise)), self._parts)
        streams = noise.repeated(self._config.candidates)
        for _ in range(self._config.sweeps):
            batch, _ = self._sweep(batch, streams)
        return batch

    def _sweep(self, batch: Batch, noise: RowNoise) -> tuple[Batch, Masked]:
        """The batch with some of its tokens resampled, and which."""
        assert self._generator is not None
        tokens, masked = invent_inputs(self._generator, batch, self._config.mask_rate, self._mask, noise)
        # What it was read from keeps the old words; of that no sweep asks more than which may be hidden.
        return replace(batch, input_ids=tokens), masked

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
        """(M,) 1 for kept candidates. Where none would be, the one that came closest is."""
        config, gather = self._config, self._parts.gather
        draws = noise.uniform(config.candidates).reshape(-1).to(states.device)
        if config.selector == "none":
            return torch.ones_like(draws)
        if config.selector == "similarity":
            margin = similarity - gather(similarity).quantile(1 - config.keep_rate)
        elif config.selector == "random":
            margin = config.keep_rate - draws
        else:
            margin = torch.sigmoid(self._selector(states)) - draws
        return (margin >= gather(margin).max().clamp(max=0)).float()

    # -- the student ----------------------------------------------------------------------------------------------

    def _student_loss(self, batch: Batch, noise: RowNoise) -> StepLoss:
        parts, config = self._parts, self._config
        made = self._candidates(noise)
        states, teacher, similarity = self._states(made)
        keep = self._keep(states, similarity, noise)
        if config.selector == "learned":
            self._selector.see(self._score())
            self._selector.remember(parts.gather(states), parts.gather(keep))
        clean, other = (logits_of(parts.student, b, b.input_ids) for b in (batch, made))
        learn = self._learns[batch.rows].float()

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
            said = logits_of(self._parts.student, batch, batch.input_ids)
        if self._config.reward == "metric" and not self._parts.task.regression:
            return (said.argmax(-1) == batch.labels).float().mean()
        return -supervised_rows(said, batch.labels).mean()

    # -- the selector ---------------------------------------------------------------------------------------------

    def _selector_loss(self) -> StepLoss:
        selector, config = self._selector, self._config
        selector.see(self._score())
        total = selector.lesson(config.discount, config.entropy, config.baseline_momentum)
        return StepLoss(
            total, {"selector_reward": selector.rewards.mean(), "selector_baseline": selector.baseline.clone()}
        )

    @torch.no_grad()
    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The batch's own sentences after the resampling sweeps; nothing where there is no generator."""
        if self._generator is None:
            return None
        made, changed = self._sweep(batch, noise)
        ever = changed.hidden
        for _ in range(self._config.sweeps - 1):
            made, changed = self._sweep(made, noise)
            ever = ever | changed.hidden
        return Invented(
            input_ids=made.input_ids,
            changed=ever,
            teacher_logits=logits_of(self._parts.teacher, batch, made.input_ids),
            student_logits=logits_of(self._parts.student, batch, made.input_ids),
            perplexity=perplexity(self._generator, batch, changed, made.input_ids),
        )


def reward_rows(task: TaskFacts, share: float, seed: int) -> np.ndarray:
    """The numbers of the target's labelled training rows of the reward: stratified, every class among them."""
    labelled = task.rows - task.unlabelled
    count = max(2, task.classes, min(MAX_REWARD_ROWS, round(share * labelled)))
    if count >= labelled:
        what = f"{labelled}, of which l2a sets {count} apart for its reward: the student needs more"
        raise UserError(Problem("training.rows", what))
    return subsample(task.labels[:labelled].cpu().numpy(), count, seed)


@torch.no_grad()
def read_first(classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and the last layer's first-token state (B, d), float32."""

    def read(part: Batch) -> tuple[Tensor, Tensor]:
        out = classifier(
            input_ids=part.input_ids,
            attention_mask=part.attention_mask,
            token_type_ids=part.token_type_ids,
            hidden=True,
        )
        assert out.hidden is not None
        return out.logits.float(), out.hidden[-1][:, 0].float()

    logits, states = by_pieces(read, batch)
    return logits, states

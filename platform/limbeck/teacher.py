"""The teacher: which one, and how it is fitted when only a base encoder is given."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from limbeck.config import Config
from limbeck.encoding import Encoded, Order, Vocabulary, collate, to_device
from limbeck.methods.losses import supervised
from limbeck.models import HubClassifier
from limbeck.noise import derived_seed
from limbeck.optimise import Optimiser, autocast, warmup_decay
from limbeck.tasks import TaskConfig


class TeacherConfig(Config):
    """Either `base`, an encoder to fine-tune here (once; then cached), or `checkpoint`, a classifier that is ready."""

    base: str | None = None
    """A built-in model (default `minilm-l6`), a folder, or a hub id."""
    checkpoint: str | None = None
    """A folder or hub id of a fine-tuned classifier."""
    task: TaskConfig | None = None
    """Fit on this task's training rows (same classes); default: the trial's own. For targets with few labels."""
    epochs: PositiveFloat = 2.0
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 8e-5
    weight_decay: NonNegativeFloat = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip_norm: PositiveFloat = 1.0
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_source(self) -> "TeacherConfig":
        if self.base is not None and self.checkpoint is not None:
            raise ValueError("give either base (to be fitted here) or checkpoint (ready), not both")
        return self

    @property
    def fitted_here(self) -> str | None:
        """The base to fine-tune, or None for a ready checkpoint."""
        return None if self.checkpoint else self.base or "minilm-l6"


def fit_teacher(
    model: HubClassifier,
    train: Encoded,
    vocabulary: Vocabulary,
    config: TeacherConfig,
    precision: str,
    say: Callable[[str], None],
) -> None:
    """Fine-tune `model` in place on all of `train` by the gold labels."""
    device = model.embedding.weight.device
    order = Order(train.lengths, config.batch_size, derived_seed(config.seed, "teacher"))
    updates = max(1, round(config.epochs * len(train) / config.batch_size))
    optimiser = Optimiser(
        model.parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    blank = train.labels[:, None]
    model.train()
    loss = torch.zeros(())
    with torch.random.fork_rng():
        for update in range(updates):
            torch.manual_seed(derived_seed(config.seed, "teacher-dropout", update))
            batch = to_device(collate(train, order.batch(update), vocabulary, blank), device)
            with autocast(precision, device):
                out = model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
                )
                loss = supervised(out.logits, batch.labels)
            optimiser.step(loss, lambda _: None, warmup_decay((update + 0.5) / updates, config.warmup))
            if (update + 1) % 50 == 0 or update + 1 == updates:
                say(f"teacher: update {update + 1} of {updates}, loss {float(loss.detach()):.3f}")
    model.eval()

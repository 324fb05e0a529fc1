"""Fitting a generator's fresh head on the task's own text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.encoding import Encoded, Order, Vocabulary, by_length, collate, take, to_device
from limbeck.errors import Problem, UserError
from limbeck.models.generator import Generator, GeneratorConfig
from limbeck.noise import derived_seed
from limbeck.optimise import Optimiser, autocast, warmup_decay

WARMUP = 0.06
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.01
HELD_OUT_ROWS = 256
SAY_EVERY_UPDATES = 50
MEASURE_TOKENS = 4096


@dataclass(frozen=True)
class GeneratorFit:
    """How well a generator guesses hidden words."""

    perplexity: float
    """On rows held out of the fit; a text that stands in several, as `tasks.reading` repeats a small task's, may be
    among both."""
    accuracy: float
    """Share of those words that it guesses at the first attempt."""
    history: tuple[tuple[int, float], ...]
    """(update, perplexity over the updates since the entry before)."""


def fit_generator(
    generator: Generator,
    split: Encoded,
    vocabulary: Vocabulary,
    config: GeneratorConfig,
    precision: str,
    say: Callable[[str], None],
) -> GeneratorFit:
    """Fit a generator with a fresh head in place; a ready masked LM is only measured.

    Hidden words become [MASK], as in use, and only they enter the loss. The same arguments give the same weights.
    """
    if vocabulary.mask is None:
        raise UserError(Problem("generator", "the vocabulary has no mask token, so no word can be hidden"))
    rows = np.random.default_rng(derived_seed(config.seed, "held-out")).permutation(len(split))
    held = min(HELD_OUT_ROWS, max(1, len(rows) // 20))
    task = _Task(generator, vocabulary, config, precision)
    history: list[tuple[int, float]] = []
    if generator.fresh:
        train = take(split, rows[held:] if len(rows) > held else rows)
        start_from_frequencies(generator, train, vocabulary)
        for update, perplexity in _updates(task, train):
            history.append((update, perplexity))
            say(f"generator: update {update} of {config.fit_updates}, perplexity {perplexity:,.0f}")
        generator.fresh = False
    perplexity, accuracy = _measure(task, take(split, rows[:held]))
    say(f"generator: held-out perplexity {perplexity:,.0f}, {accuracy:.0%} of hidden words guessed")
    return GeneratorFit(perplexity, accuracy, tuple(history))


@dataclass(frozen=True)
class _Task:
    """Guessing hidden words: what every step of the fit needs."""

    generator: Generator
    vocabulary: Vocabulary
    config: GeneratorConfig
    precision: str

    def guess(self, split: Encoded, rows: np.ndarray, draw: int) -> tuple[Tensor, Tensor]:
        """Return (P, V) float32 scores and (P,) tokens of the words that draw `draw` hides in some rows."""
        device = self.generator.embedding.weight.device
        here = collate(split, rows, self.vocabulary, split.labels[:, None])
        noise = torch.rand(here.input_ids.shape, generator=torch.Generator().manual_seed(draw))
        hidden = hide_words(here.maskable, self.config.fit_mask_rate, noise)
        words, places = here.input_ids[hidden], hidden.flatten().nonzero().squeeze(1)
        batch = to_device(
            replace(here, input_ids=here.input_ids.masked_fill(hidden, self.vocabulary.mask or 0)), device
        )
        with autocast(self.precision, device):
            scores = self.generator.guess(
                batch.input_ids, batch.attention_mask, places.to(device), batch.token_type_ids
            )
        return scores.float(), words.to(device)


def hide_words(maskable: Tensor, rate: float, noise: Tensor) -> Tensor:
    """Return (B, n) bool: maskable words whose `noise` (B, n), uniform, is below `rate`, and each row's lowest."""
    noise = noise.masked_fill(~maskable, 2.0)
    return maskable & (noise <= noise.amin(1, keepdim=True).clamp(min=rate))


@torch.no_grad()
def start_from_frequencies(generator: Generator, split: Encoded, vocabulary: Vocabulary) -> None:
    """Set the head's bias to the words' log-frequencies, so that the fit need not find those first."""
    decoder = generator.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert isinstance(decoder, nn.Linear)
    counts = np.bincount(split.tokens, minlength=decoder.out_features).astype(np.float64)
    counts[list(vocabulary.specials)] = 0
    smooth = counts + 0.1
    decoder.bias.copy_(torch.from_numpy(np.log(smooth / smooth.sum())))


def _updates(task: _Task, train: Encoded) -> Iterator[tuple[int, float]]:
    """Fit, and yield (update, perplexity since the last) every so often.

    Without dropout: a fit this short sees hardly a sentence twice.
    """
    config, generator = task.config, task.generator
    order = Order(train.lengths, config.fit_batch_size, derived_seed(config.seed, "generator"))
    optimiser = Optimiser(
        generator.parameters(),
        learning_rate=config.fit_learning_rate,
        weight_decay=WEIGHT_DECAY,
        clip_norm=CLIP_NORM,
    )
    generator.eval()
    losses: list[Tensor] = []
    for update in range(config.fit_updates):
        scores, words = task.guess(train, order.batch(update), derived_seed(config.seed, "hide", update))
        # Rows without a word to hide add nothing; a batch of such rows must not divide by zero.
        loss = F.cross_entropy(scores, words, reduction="sum") / max(1, len(words))
        optimiser.step(loss, lambda _: None, warmup_decay((update + 0.5) / config.fit_updates, WARMUP))
        losses.append(loss.detach())
        if (update + 1) % SAY_EVERY_UPDATES == 0 or update + 1 == config.fit_updates:
            yield update + 1, float(torch.stack(losses).mean().exp())
            losses.clear()


@torch.no_grad()
def _measure(task: _Task, split: Encoded) -> tuple[float, float]:
    """Return perplexity and accuracy over the words that a fixed draw hides."""
    task.generator.eval()
    loss, right, words_seen = 0.0, 0, 0
    for number, rows in enumerate(by_length(split, MEASURE_TOKENS)):
        scores, words = task.guess(split, rows, derived_seed(task.config.seed, "measure", number))
        loss += float(F.cross_entropy(scores, words, reduction="sum"))
        right += int((scores.argmax(-1) == words).sum())
        words_seen += len(words)
    return float(np.exp(loss / max(1, words_seen))), right / max(1, words_seen)

"""Toy networks and batches: real code at a size where a step takes milliseconds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from limbeck.encoding import Batch, Vocabulary
from limbeck.methods.base import Parts, TaskFacts
from limbeck.models import Generator, GeneratorConfig, HubClassifier

WORDS = 40
PAD, CLS, SEP, MASK = 0, 1, 2, 3
VOCABULARY = Vocabulary(size=WORDS, pad=PAD, mask=MASK, specials=frozenset({PAD, CLS, SEP, MASK}), segments=True)
ROWS = 64


def bert_config(layers: int, hidden: int, classes: int, dropout: float = 0.0) -> BertConfig:
    return BertConfig(
        vocab_size=WORDS,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=160,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=max(1, classes),
        pad_token_id=PAD,
        initializer_range=0.2,
    )


def seeded(seed: int, make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def classifier(
    layers: int = 2, hidden: int = 16, classes: int = 3, seed: int = 0, dropout: float = 0.0
) -> HubClassifier:
    config = bert_config(layers, hidden, classes, dropout)
    return HubClassifier(seeded(seed, lambda: BertForSequenceClassification(config)))


def generator(seed: int = 7, layers: int = 1, hidden: int = 24) -> Generator:
    return Generator(seeded(seed, lambda: BertForMaskedLM(bert_config(layers, hidden, 0)))).eval()


def batch(size: int = 8, classes: int = 3, seed: int = 0, longest: int = 12, start: int = 0) -> Batch:
    """`size` rows numbered from `start`: [CLS] words [SEP] pads."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(5, longest + 1, (size,), generator=draw)
    lengths[0] = longest
    ids = torch.randint(4, WORDS, (size, longest), generator=draw)
    places = torch.arange(longest)
    ids[:, 0] = CLS
    ids[torch.arange(size), lengths - 1] = SEP
    real = places < lengths[:, None]
    ids = ids.where(real, torch.tensor(PAD))
    special = (ids == CLS) | (ids == SEP) | ~real
    labels = torch.randint(0, classes, (size,), generator=draw) if classes else torch.randn(size, generator=draw)
    return Batch(
        input_ids=ids,
        attention_mask=real.long(),
        token_type_ids=torch.zeros_like(ids),
        maskable=~special,
        labels=labels,
        rows=torch.arange(start, start + size),
        teacher_logits=torch.randn(size, max(1, classes), generator=draw),
    )


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """A batch's tensors by their names."""
    return {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}


class ToyRows:
    """A pool of rows, the second half of them from a source task."""

    def __init__(self, count: int, classes: int) -> None:
        self._count, self._classes = count, classes

    def __len__(self) -> int:
        return self._count

    def read(self, rows: Sequence[int]) -> Batch:
        each = [batch(1, self._classes, seed=1000 + row, start=row) for row in rows]
        return Batch(**{name: torch.cat([getattr(b, name) for b in each]) for name in tensors(each[0])})


def parts(
    classes: int = 3,
    student_hidden: int = 8,
    dropout: float = 0.0,
    gather: Callable[[Tensor], Tensor] | None = None,
    rows: int = ROWS,
) -> Parts:
    """A 3-layer teacher, a 2-layer narrower student, and generators that start alike each time."""
    labels = torch.arange(rows) % classes if classes else torch.linspace(-1, 1, rows)
    teacher = classifier(3, 16, classes, seed=1).eval().requires_grad_(False)

    def new_generator(config: GeneratorConfig) -> Generator:
        return generator(layers=config.layers or 3)

    common: dict[str, Any] = {} if gather is None else {"gather": gather}
    return Parts(
        student=classifier(2, student_hidden, classes, seed=2, dropout=dropout),
        teacher=teacher,
        task=TaskFacts(classes=classes, rows=rows, labels=labels),
        vocabulary=VOCABULARY,
        pool=ToyRows(2 * rows, classes),
        batch_size=8,
        new_generator=new_generator,
        text=lambda rows, max_tokens: ToyRows(min(rows, 2 * ROWS), classes),
        seed=11,
        **common,
    )


def with_teacher(batch: Batch, logits: Tensor) -> Batch:
    return replace(batch, teacher_logits=logits)


def pad_to(x: Tensor, width: int, value: int | bool) -> Tensor:
    return torch.nn.functional.pad(x, (0, width - x.shape[1]), value=value)

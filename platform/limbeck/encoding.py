"""Texts as token ids: memory-mapped splits, the order in which training reads them, and padded batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from limbeck.cache import Cache
from limbeck.config import content_hash
from limbeck.noise import derived_seed
from limbeck.tasks import Examples

POOL_BATCHES = 16
"""Batches whose rows are sorted by length together: more saves padding, fewer mixes better."""


@dataclass(frozen=True)
class Batch:
    """B rows padded to the longest of the *global* batch, n tokens."""

    input_ids: Tensor
    """(B, n) int64."""
    attention_mask: Tensor
    """(B, n) int64, 1 on tokens and 0 on pads."""
    token_type_ids: Tensor | None
    """(B, n) int64, or None where the vocabulary's models know no segments."""
    maskable: Tensor
    """(B, n) bool: real tokens that are not specials."""
    labels: Tensor
    """(B,) int64 classes, or float32 for regression."""
    rows: Tensor
    """(B,) int64: stable row numbers, untouched by shuffling, sharding and resume."""
    teacher_logits: Tensor
    """(B, C) float32: the teacher on these rows, from the cache."""
    copied_from: "Batch | None" = None
    """The same rows in host memory, where this batch is on a GPU."""

    @property
    def here(self) -> "Batch":
        """The rows as they were read, in host memory: what to change is picked there, without waiting for a GPU."""
        return self if self.copied_from is None else self.copied_from

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])


@dataclass(frozen=True)
class Vocabulary:
    """What masking and padding need to know of a tokenizer."""

    size: int
    pad: int
    mask: int | None
    specials: frozenset[int]
    segments: bool

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Vocabulary":
        """Read the facts off a tokenizer."""
        return cls(
            size=len(tokenizer),
            pad=int(tokenizer.pad_token_id or 0),
            mask=None if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id),
            specials=frozenset(int(i) for i in tokenizer.all_special_ids),
            segments="token_type_ids" in tokenizer.model_input_names,
        )


def tokenizer_key(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of the token→id map and of how texts are cut, so that equal keys mean equal encodings."""
    sample = "It's a test: naïve CAFÉ, don't-stop 1,234.50 ½ 日本 [MASK]"
    return content_hash([sorted(tokenizer.get_vocab().items(), key=lambda kv: kv[1]), tokenizer(sample)["input_ids"]])


@dataclass(frozen=True)
class Encoded:
    """One split as token ids: flat arrays, memory-mapped, shared by every process that reads them."""

    tokens: np.ndarray
    """(sum of lengths,) int32."""
    offsets: np.ndarray
    """(N + 1,) int64: row i is tokens[offsets[i]:offsets[i + 1]]."""
    segments: np.ndarray | None
    """(sum of lengths,) uint8."""
    labels: np.ndarray
    """(N,) int64 or float32."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(N,) tokens of each row. Kept: every step asks, and taking all differences takes a while."""
        return np.diff(self.offsets)


def encode(
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_tokens: int, cache: Cache, fingerprint: str
) -> Encoded:
    """Tokenise a split once per machine; `fingerprint` names its texts and labels."""
    segments = "token_type_ids" in tokenizer.model_input_names

    def build(folder: Path) -> None:
        tokens: list[np.ndarray] = []
        types: list[np.ndarray] = []
        for start in range(0, len(examples), 1000):
            columns = [list(column[start : start + 1000]) for column in examples.columns]
            out = tokenizer(*columns, truncation=True, max_length=max_tokens)
            tokens.extend(np.asarray(ids, np.int32) for ids in out["input_ids"])
            if segments:
                types.extend(np.asarray(ids, np.uint8) for ids in out["token_type_ids"])
        np.save(folder / "tokens.npy", np.concatenate([*tokens, np.empty(0, np.int32)]))
        np.save(folder / "offsets.npy", np.cumsum([0, *map(len, tokens)], dtype=np.int64))
        np.save(folder / "labels.npy", examples.labels)
        if segments:
            np.save(folder / "segments.npy", np.concatenate([*types, np.empty(0, np.uint8)]))

    folder = cache.folder("encoded", [fingerprint, tokenizer_key(tokenizer), max_tokens], build)

    def read(name: str) -> np.ndarray:
        array: np.ndarray = np.load(folder / f"{name}.npy", mmap_mode="r")
        return array

    return Encoded(read("tokens"), read("offsets"), read("segments") if segments else None, read("labels"))


class Order:
    """Which rows make up batch k: a pure function of the seed and k, so that resuming needs only k.

    Rows come from an endless chain of shuffled epochs, so every batch is full. Each `POOL_BATCHES` batches, fewer where
    there are not rows enough, share a pool that is sorted by length and cut, then dealt in random order: little
    padding, and every row once an epoch. A pool of more than an epoch would put the copies of a row beside each other.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._batches = max(1, min(POOL_BATCHES, len(self._lengths) // batch_size))
        self._pool = lru_cache(maxsize=2)(self._make_pool)
        self._epoch = lru_cache(maxsize=3)(self._make_epoch)

    def _make_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(derived_seed(self._seed, "epoch", epoch)).permutation(len(self._lengths))

    def _make_pool(self, pool: int) -> np.ndarray:
        size, rows = self._batches * self._batch_size, len(self._lengths)
        stream = np.arange(pool * size, (pool + 1) * size)
        items = np.array([self._epoch(int(i // rows))[i % rows] for i in stream])
        items = items[np.argsort(self._lengths[items], kind="stable")].reshape(self._batches, self._batch_size)
        return np.random.default_rng(derived_seed(self._seed, "pool", pool)).permutation(items)

    def batch(self, k: int) -> np.ndarray:
        """(batch_size,) row numbers of batch k >= 0."""
        rows: np.ndarray = self._pool(k // self._batches)[k % self._batches]
        return rows


def collate(
    split: Encoded, rows: np.ndarray, vocabulary: Vocabulary, teacher_logits: np.ndarray, width: int | None = None
) -> Batch:
    """Pad the given rows to `width` tokens (default: their longest).

    `split` and `teacher_logits` (N, C) belong together; the batch's `rows` are the given ones.
    """
    lengths = split.lengths[rows]
    width = int(lengths.max()) if width is None else width
    ids = np.full((len(rows), width), vocabulary.pad, np.int64)
    types = None if split.segments is None else np.zeros((len(rows), width), np.int64)
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        start = split.offsets[row]
        ids[i, :length] = split.tokens[start : start + length]
        if types is not None and split.segments is not None:
            types[i, :length] = split.segments[start : start + length]
    real = np.arange(width) < lengths[:, None]
    special = np.isin(ids, np.fromiter(vocabulary.specials, np.int64))
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(real.astype(np.int64)),
        token_type_ids=None if types is None else torch.from_numpy(types),
        maskable=torch.from_numpy(real & ~special),
        labels=torch.from_numpy(np.array(split.labels[rows])),
        rows=torch.from_numpy(np.array(rows, np.int64)),
        teacher_logits=torch.from_numpy(np.array(teacher_logits[rows], np.float32)),
    )


def padded(batch: Batch, width: int, pad: int) -> Batch:
    """The batch with pads up to `width` tokens."""

    def wider(x: Tensor, value: int) -> Tensor:
        return F.pad(x, (0, width - x.shape[1]), value=value)

    types = batch.token_type_ids
    return replace(
        batch,
        input_ids=wider(batch.input_ids, pad),
        attention_mask=wider(batch.attention_mask, 0),
        token_type_ids=None if types is None else wider(types, 0),
        maskable=wider(batch.maskable, 0),
        copied_from=None if batch.copied_from is None else padded(batch.copied_from, width, pad),
    )


def take(split: Encoded, rows: np.ndarray) -> Encoded:
    """Copy some rows of a split, in the given order: row i of the result is row rows[i]."""
    lengths = split.lengths[rows]
    parts = [np.arange(start, start + length) for start, length in zip(split.offsets[rows], lengths, strict=True)]
    flat = np.concatenate([*parts, np.empty(0, np.int64)])
    segments = None if split.segments is None else split.segments[flat]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(split.tokens[flat], offsets, segments, np.array(split.labels[rows]))


def joined(first: Encoded, *others: Encoded) -> Encoded:
    """Put splits of one vocabulary one after the other; row numbers of later ones follow those of earlier ones."""
    every = (first, *others)
    lengths = np.concatenate([split.lengths for split in every])
    segments = [split.segments for split in every if split.segments is not None]
    return Encoded(
        np.concatenate([split.tokens for split in every]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(segments) if len(segments) == len(every) else None,
        np.concatenate([split.labels for split in every]),
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a batch; what it came from stays at hand."""
    if device.type == "cpu":
        return batch
    moved: dict[str, Any] = {k: None if v is None else v.to(device, non_blocking=True) for k, v in vars(batch).items()}
    return Batch(**{**moved, "copied_from": batch})


@dataclass(frozen=True)
class Reader:
    """Rows of a split as batches on a device, in any order."""

    split: Encoded
    teacher_logits: np.ndarray
    """(N, C) of the same rows."""
    vocabulary: Vocabulary
    device: torch.device

    def __len__(self) -> int:
        return len(self.split)

    def followed_by(self, *others: tuple[Encoded, np.ndarray]) -> "Reader":
        """These rows, then those of other splits of the same vocabulary; each comes with its teacher's logits."""
        if not others:
            return self
        splits, logits = zip(*others, strict=True)
        everything = np.concatenate([self.teacher_logits, *logits])
        return replace(self, split=joined(self.split, *splits), teacher_logits=everything)

    def read(self, rows: Sequence[int] | np.ndarray, width: int | None = None) -> Batch:
        """These rows as a batch, padded to `width` tokens (default: their longest)."""
        numbers = np.asarray(rows, np.int64)
        return to_device(collate(self.split, numbers, self.vocabulary, self.teacher_logits, width), self.device)


def by_length(split: Encoded, batch_tokens: int) -> Iterator[np.ndarray]:
    """Yield all row numbers once, in batches of similar length that hold about `batch_tokens` tokens."""
    order = np.argsort(split.lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        longest = int(split.lengths[order[start]])
        count = max(1, batch_tokens // max(longest, 1))
        yield order[start : start + count]
        start += count

"""Two forms of a MATE-KD step on the same networks and rows, and the work that a step has to do."""

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from setting import Setting
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.encoding import Batch
from limbeck.methods.base import STUDENT, Parts, TaskFacts
from limbeck.methods.masking import Masked, mask_tokens, sample, score_hidden
from limbeck.methods.mate import Mate, MateConfig
from limbeck.models import ModelFacts, facts_of
from limbeck.models.swift import Dropout
from limbeck.noise import RowNoise, derived_seed
from limbeck.optimise import Optimiser, autocast
from methods import plain_mate

WIDE = 128
CONFIG = MateConfig()
Average = Callable[[Sequence[Tensor]], None]


class Form(Protocol):
    """One way to take a step."""

    def step(self, number: int, phase: str) -> Tensor:
        """Take step `number` and return its loss, still on the device."""
        ...


def batch_of(setting: Setting, number: int) -> tuple[Batch, RowNoise]:
    """The rows and the noise of a step."""
    rows = setting.order.batch(number)
    return setting.reader.read(rows), noise_of(setting, number, len(rows))


def noise_of(setting: Setting, number: int, rows: int) -> RowNoise:
    """The noise of a step, from its start."""
    return RowNoise(derived_seed(0, "noise"), number, range(rows))


class Product:
    """What the training loop does in one step."""

    def __init__(self, setting: Setting, precision: str, average: Average | None = None) -> None:
        self._setting, self._precision, self._device = setting, precision, setting.reader.device
        self.student, self.generator = setting.student(), copy.deepcopy(setting.generator)
        self.student.embedding.sparse = self._device.type == "cpu" and average is None
        self._average = average or (lambda _: None)
        labels = torch.from_numpy(np.array(setting.reader.split.labels)).to(self._device)
        parts = Parts(
            student=self.student,
            teacher=setting.teacher,
            task=TaskFacts(classes=len(setting.task.classes), rows=len(setting.reader), labels=labels),
            vocabulary=setting.vocabulary,
            pool=setting.reader,
            batch_size=len(setting.order.batch(0)),
            new_generator=lambda _: self.generator,
            text=lambda rows, max_tokens: setting.reader,
        )
        self.method = Mate(CONFIG, parts)
        self._optimisers = {
            name: Optimiser(
                part.module.parameters(),
                learning_rate=part.learning_rate or 5e-5,
                weight_decay=part.weight_decay or 0.01,
                clip_norm=part.clip_norm or 1.0,
            )
            for name, part in self.method.trainable.items()
        }

    def step(self, number: int, phase: str) -> Tensor:
        """Take step `number` and return its loss, still on the device."""
        batch, noise = batch_of(self._setting, number)
        torch.manual_seed(number)
        self.student.train()
        with autocast(self._precision, self._device):
            loss = self.method.loss(batch, phase, noise).total
        self._optimisers[phase].step(loss, self._average)
        return loss.detach()


def as_loaded(model: nn.Module) -> nn.Module:
    """A copy of a network with the library's own dropout and attention, as it is before we lay hands on it."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, Dropout):
            model.set_submodule(name, nn.Dropout(module.p))
    model.config._attn_implementation = "sdpa"
    return model


class Published:
    """The published script's step: every input padded, the vocabulary at every position, plain AdamW, no cache."""

    def __init__(self, setting: Setting, precision: str = "fp32") -> None:
        self._setting, self._precision, self._device = setting, precision, setting.reader.device
        models = (setting.teacher.model, setting.student().model, setting.generator.model)
        self._teacher, self.student, self.generator = (as_loaded(model) for model in models)
        self._teacher.eval()
        self._modules: Mapping[str, nn.Module] = {STUDENT: self.student, "generator": self.generator}
        self._optimisers = {
            name: torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
            for (name, module), rate in zip(self._modules.items(), (5e-5, 5e-7), strict=True)
        }

    def step(self, number: int, phase: str) -> Tensor:
        """Take step `number` and return its loss, still on the device."""
        batch, noise = batch_of(self._setting, number)
        masked = mask_tokens(batch, CONFIG.mask_rate, self._setting.vocabulary.mask or 0, noise)
        uniform = torch.rand(len(batch), WIDE, self._setting.vocabulary.size, device=self._device)
        gumbel = -torch.log(-torch.log(uniform + 1e-20) + 1e-20)
        self.student.train()
        self.generator.train()
        # As in the script, the backward pass fills the gradients of both networks; one optimiser uses its own.
        for module in self._modules.values():
            module.zero_grad()
        with autocast(self._precision, self._device) if self._precision != "fp32" else contextlib.nullcontext():
            loss = self.loss(batch, masked, gumbel, phase)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._modules[phase].parameters(), 5.0)
        self._optimisers[phase].step()
        return loss.detach()

    def loss(self, batch: Batch, masked: Masked, gumbel: Tensor, phase: str) -> Tensor:
        """The loss under given noise, (B, 128, V)."""
        setting = self._setting
        plain = plain_mate.Plain(self._teacher, self.student, self.generator)
        ids, places = (
            F.pad(x, (0, WIDE - x.shape[1]), value=value)
            for x, value in ((batch.input_ids, setting.vocabulary.pad), (masked.hidden, False))
        )
        attention_mask = F.pad(batch.attention_mask, (0, WIDE - batch.attention_mask.shape[1]))
        common = (plain, ids, places, attention_mask, gumbel, setting.vocabulary.mask or 0)
        if phase == STUDENT:
            return plain_mate.student_loss(*common, batch.labels)
        return -plain_mate.adversarial_divergence(*common)


@torch.no_grad()
def difference(setting: Setting, number: int, phase: str) -> float:
    """How far the two forms' losses are apart under the same noise, in float32 without dropout, relative to theirs."""
    ours, theirs = Product(setting, "fp32"), Published(setting)
    for module in (ours.student, ours.generator, theirs.student, theirs.generator):
        module.eval()
    batch, noise = batch_of(setting, number)
    out = setting.teacher(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_type_ids
    )
    loss = ours.method.loss(replace(batch, teacher_logits=out.logits), phase, noise).total
    again = noise_of(setting, number, len(batch))
    masked = mask_tokens(batch, CONFIG.mask_rate, setting.vocabulary.mask or 0, again)
    words = setting.vocabulary.size
    gumbel = torch.zeros(len(batch), WIDE, words, device=setting.reader.device)
    places = F.pad(masked.hidden, (0, WIDE - masked.hidden.shape[1]), value=False)
    if phase == STUDENT:
        # Noise under which the published form's Gumbel-max draw is the token that was drawn here.
        uniform = again.uniform_each(masked.counts).to(setting.reader.device)
        tokens = sample(score_hidden(ours.generator, masked, batch), uniform)
        gumbel[places] = 1e4 * F.one_hot(tokens, words).float()
    else:
        gumbel[places] = again.gumbel(masked.counts, words, setting.reader.device)
    expected = theirs.loss(batch, masked, gumbel, phase)
    return float((loss - expected).abs() / expected.abs())


@dataclass(frozen=True)
class Work:
    """The matrix products of a step in FLOP: real tokens only, each product that the mathematics needs once."""

    student: float
    generator: float

    @classmethod
    def of(cls, setting: Setting, number: int) -> "Work":
        """Count step `number`."""
        batch, noise = batch_of(setting, number)
        hidden = mask_tokens(batch, CONFIG.mask_rate, setting.vocabulary.mask or 0, noise).hidden.sum(1).cpu()
        lengths, one = batch.attention_mask.sum(1).double().cpu(), torch.ones(len(batch)).double()
        teacher, generator = setting.teacher.facts, facts_of(setting.generator.model.config)
        student = setting.student().facts
        reading = {
            name: _encoder(facts, lengths, read)
            for name, facts, read in (("t", teacher, one), ("s", student, one), ("g", generator, hidden.double()))
        }
        scoring = 2 * float(hidden.sum()) * (generator.vocabulary + generator.hidden) * generator.hidden
        looking_back = 2 * float(hidden.sum()) * generator.vocabulary * (teacher.hidden + student.hidden)
        return cls(
            # Forward through all three; back through the student, by weights and by inputs, on both batches.
            student=reading["g"] + scoring + reading["t"] + 2 * 3 * reading["s"],
            # Back through teacher and student by inputs alone, through the generator by both.
            generator=3 * (reading["g"] + scoring) + looking_back + 2 * (reading["t"] + reading["s"]),
        )


def _encoder(facts: ModelFacts, lengths: Tensor, read: Tensor) -> float:
    """One forward pass over rows of these lengths, of whose last states `read` are looked at in each row.

    Of the last layer, keys and values are needed of every token, all else of those that are read.
    """
    wide, inner = facts.hidden, facts.intermediate
    tokens, pairs = lengths.sum(), lengths.square().sum()
    whole = 2 * tokens * (4 * wide**2 + 2 * wide * inner) + 4 * pairs * wide
    last = 4 * tokens * wide**2 + 2 * read.sum() * (2 * wide**2 + 2 * wide * inner) + 4 * (read * lengths).sum() * wide
    return float((facts.layers - 1) * whole + last)

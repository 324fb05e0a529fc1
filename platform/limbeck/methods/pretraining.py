"""CoDIR's first stage: the student learns the language from a masked LM, on text without labels.

L = (1 − β)·CE + β·τ²·KL(p_G‖p_S) + w·(ℓ(z_S, z_G) + ℓ(z_G, z_S))/2
CE and KL at the hidden words over the vocabulary; z = normalise(A [pool(h^1); …; pool(h^k)]) as in fine-tuning
ℓ infonce: the own text's z of the other network against those of the other texts of the batch

*Source* Sun, Gan, Fang, Cheng, Wang, Liu 2020, arXiv 2009.14167, section 3 (not in the released code).
*Differs from the source*: see docs/methods/codir.md, which numbers every difference.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.config import Config
from limbeck.encoding import Batch
from limbeck.errors import Problem, UserError
from limbeck.methods.base import Parts, Setting, StepLoss, Trainable, as_module
from limbeck.methods.contrast import Layers, Pooling, Representations, even_layers, infonce_in_batch
from limbeck.methods.losses import divergence_rows, widened
from limbeck.methods.masking import equally_wide, mask_id, mask_tokens, no_generator
from limbeck.models import Classifier, Generator, GeneratorConfig, check_same_tables
from limbeck.noise import RowNoise


class PretrainingConfig(Config):
    """Every number is our choice: the released code leaves the stage out."""

    updates: PositiveInt = 200
    """Steps before the first of the student's own, which alone count as updates of the plan's budget."""
    learning_rate: PositiveFloat = 1e-4
    """Constant."""
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 64
    """Longer texts are cut."""
    mask_rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    temperature: PositiveFloat = 2.0
    """τ of the soft words."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """β: share of the teacher's words; the text's own have the rest."""
    weight: NonNegativeFloat = 0.1
    """w of the contrast."""
    contrast_temperature: PositiveFloat = 0.07
    teacher: GeneratorConfig = GeneratorConfig(layers=None)
    """The masked LM that teaches: by default all layers of the teacher's base, its head fitted on the task's text."""


class WordHead(nn.Module):
    """Word scores from hidden states: LayerNorm(W h)·E + b, tied to the student's own (V, e) table E.

    W starts as the identity and b as the teacher's, so that words have their frequencies from the start.
    """

    def __init__(self, student: Classifier, bias: Tensor) -> None:
        super().__init__()
        table = student.embedding.weight
        self.dense = nn.Linear(student.width, table.shape[1], device=table.device)
        nn.init.eye_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        self.norm = nn.LayerNorm(table.shape[1], device=table.device)
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(P, d) hidden states and the (V, e) table -> (P, V) scores."""
        return F.linear(self.norm(self.dense(states)), table, self.bias)


class Pretraining:
    """The stage's text, its teacher, what it trains, and its loss."""

    def __init__(
        self, config: PretrainingConfig, parts: Parts, layers: Layers, pooling: Pooling, projection: int
    ) -> None:
        """`layers` are the student's that are compared, each with one of the teacher's, evenly spaced."""
        self._config, self._parts = config, parts
        self._mask = mask_id(parts)
        self._teacher = parts.new_generator(config.teacher).eval().requires_grad_(False)
        tables = {"student": parts.student.embedding, "method.pretraining.teacher": self._teacher.embedding}
        check_same_tables(tables)
        if config.max_tokens > (longest := min(parts.student.max_tokens, self._teacher.max_tokens)):
            what = f"{config.max_tokens}, but the student and the masked LM that teaches both read at most {longest}"
            raise UserError(Problem("method.pretraining.max_tokens", what))
        self._text = parts.text(config.updates * parts.batch_size, config.max_tokens)
        self._head = WordHead(parts.student, _bias(self._teacher))
        modules = [as_module(parts.student.encoder), self._head]
        if config.weight > 0:
            if problems := _too_few(len(layers), self._teacher.layers):
                raise UserError(*problems)
            theirs = even_layers(len(layers), self._teacher.layers)
            networks = (parts.student, self._teacher)
            self._representations = Representations(networks, (layers, theirs), pooling, projection, parts.seed)
            modules.append(self._representations)
        self._module = nn.ModuleList(modules)

    @property
    def trainable(self) -> Trainable:
        """The student's embeddings and layers, the head for words, and the projections."""
        return Trainable(self._module, self._config.learning_rate)

    def loss(self, noise: RowNoise) -> StepLoss:
        """The three terms on as many texts as the batch has rows, drawn with replacement."""
        config, parts = self._config, self._parts
        batch = self._batch(noise)
        masked = mask_tokens(batch, config.mask_rate, self._mask, noise)
        student = parts.student(
            input_ids=masked.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            hidden=True,
        ).hidden
        assert student is not None
        with torch.no_grad():
            teacher = self._teacher.read(masked.input_ids, batch.attention_mask, batch.token_type_ids)
            taught = self._teacher.scores(teacher[-1].flatten(0, 1)[masked.places])
        said = self._head(student[-1].flatten(0, 1)[masked.places], parts.student.embedding.weight)
        words = batch.input_ids.flatten()[masked.places]
        gold = self._mean(F.cross_entropy(widened(said), words, reduction="none"))
        soft = self._mean(divergence_rows(taught, said, "kl", config.temperature, False))
        total = (1 - config.distillation) * gold + config.distillation * soft
        terms = {"cross_entropy": gold, "distillation": soft}
        if config.weight > 0:
            terms |= self._contrast(batch, student, teacher)
            total = total + config.weight * terms["contrast"]
        return StepLoss(total, {f"pretraining_{name}": term.detach() for name, term in terms.items()})

    def _batch(self, noise: RowNoise) -> Batch:
        rows = [int(place * len(self._text)) for place in noise.uniform(1)[:, 0].tolist()]
        return equally_wide(self._text.read(rows), self._parts)

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over all workers' hidden words, in the form whose average over workers it is."""
        counts = self._parts.gather(torch.tensor([len(values)], device=values.device))
        return len(counts) * values.sum() / counts.sum().clamp(min=1)

    def _contrast(self, batch: Batch, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> dict[str, Tensor]:
        """The mean of both directions over the batch of all workers, and what to log of it."""
        mask, gather = batch.attention_mask, self._parts.gather
        views = self._representations.student(student, mask), self._representations.teacher(teacher, mask)
        ours, theirs = gather(torch.cat(views, 1)).chunk(2, 1)
        texts = gather(batch.input_ids)
        same = (texts[:, None] == texts[None]).all(-1)
        losses = [
            infonce_in_batch(anchors, own, same, self._config.contrast_temperature)
            for anchors, own in ((ours, theirs), (theirs, ours))
        ]
        return {"contrast": (losses[0] + losses[1]) / 2, "cosine": (ours * theirs).sum(1).mean()}


def _bias(teacher: Generator) -> Tensor:
    """(V,) the bias of a masked LM's scores."""
    decoder = teacher.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert isinstance(decoder, nn.Linear)
    return decoder.bias


def _too_few(wanted: int, available: int) -> list[Problem]:
    if wanted <= available:
        return []
    what = (
        f"{available}, but {wanted} of the student's layers are told apart, each by one of these: take {wanted} or more"
    )
    return [Problem("method.pretraining.teacher.layers", f"{what}, or fewer method.student_layers")]


def unfit(config: PretrainingConfig, compared: int, setting: Setting) -> list[Problem]:
    """What keeps the stage from running: no mask token, or a teacher with fewer layers than are `compared`."""
    found = list(no_generator(setting))
    if config.weight > 0 and config.teacher.base is None and config.teacher.layers is not None:
        found += _too_few(compared, config.teacher.layers)
    return found

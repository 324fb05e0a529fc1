"""Invented inputs by a masked language model: mask, sample, and let gradients through the sample.

*Source* MATE-KD, Rashid et al. 2021, arXiv 2105.05912, section 3.1; huawei-noah/Efficient-NLP @bb44348, `MATE-KD/`.
*Differs from the source*
1. Vocabulary products and Gumbel noise at masked positions only: (P, V) in place of (B, n, V).
2. A hard token is looked up; the soft product appears in the backward pass alone.
3. Where no gradient passes through the sample, one uniform number a position inverts the cumulative distribution: the
   same distribution as the Gumbel-max draw, without V noise numbers a position (a quarter of a student step).
4. Gumbel noise is −log of an exponential draw in float32: log(u + 1e-20) under- and overflows in half precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.encoding import Batch, padded
from limbeck.errors import Problem
from limbeck.methods.base import Invented, Parts, Setting
from limbeck.methods.pieces import Piece, by_pieces, pieces
from limbeck.models import Classifier, Generator, Output
from limbeck.noise import RowNoise


@dataclass(frozen=True)
class Masked:
    """A batch with some tokens hidden from view. P is the number of hidden tokens."""

    input_ids: Tensor
    """(B, n) with [MASK] at the hidden positions."""
    hidden: Tensor
    """(B, n) bool."""
    places: Tensor
    """(P,) int64: the hidden positions of the flattened batch, row by row."""
    counts: tuple[int, ...]
    """Hidden tokens of each row; they sum to P."""

    def of(self, piece: Piece) -> "Masked":
        """The same of some rows."""
        hidden = piece.of(self.hidden)
        counts = tuple(self.counts[row] for row in piece.rows.tolist())
        return Masked(piece.of(self.input_ids), hidden, hidden.flatten().nonzero().squeeze(1), counts)


def equally_wide(batch: Batch, parts: Parts) -> Batch:
    """The batch as wide as the widest of all workers', so that a row's noise is as wide on each."""
    widths = parts.gather(torch.tensor([batch.input_ids.shape[1]], device=batch.input_ids.device))
    return padded(batch, int(widths.max()), parts.vocabulary.pad)


def mask_tokens(batch: Batch, rate: float, mask_id: int, noise: RowNoise) -> Masked:
    """Hide each maskable token with probability `rate`."""
    picked, device = (noise.uniform(batch.input_ids.shape[1]) < rate) & batch.here.maskable, batch.input_ids.device
    hidden = picked.to(device, non_blocking=True)
    return Masked(
        input_ids=batch.input_ids.masked_fill(hidden, mask_id),
        hidden=hidden,
        places=picked.flatten().nonzero().squeeze(1).to(device, non_blocking=True),
        counts=tuple(picked.sum(1).tolist()),
    )


def score_hidden(generator: Generator, masked: Masked, batch: Batch) -> Tensor:
    """(P, V) scores of the generator at the hidden positions, row by row, in the precision of the step."""
    return generator.guess(masked.input_ids, batch.attention_mask, masked.places, batch.token_type_ids)


def _at_a_time(scores: Tensor) -> int:
    """How many lines of (P, V) to work on together: on a processor what stays in its cache, elsewhere all."""
    return 32 if scores.device.type == "cpu" else max(1, len(scores))


def sample(scores: Tensor, uniform: Tensor) -> Tensor:
    """(P,) tokens drawn from softmax(scores) by inverting the cumulative distribution at (P,) uniform numbers."""
    few = _at_a_time(scores)
    tokens = []
    for part, at in zip(scores.split(few), uniform.split(few), strict=True):  # type: ignore[no-untyped-call]
        heap = torch.softmax(part.float(), -1).cumsum(-1)
        tokens.append(torch.searchsorted(heap, at.unsqueeze(-1) * heap[:, -1:], right=True).squeeze(-1))
    return torch.cat(tokens).clamp(max=scores.shape[-1] - 1)


def fill(batch: Batch, masked: Masked, tokens: Tensor) -> Tensor:
    """(B, n) the batch's tokens with the (P,) invented ones in the hidden places."""
    return batch.input_ids.flatten().index_copy(0, masked.places, tokens).view_as(batch.input_ids)


class _StraightThrough(torch.autograd.Function):
    """One-hot forward, softmax backward, for several embedding tables at once."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, gumbel: Tensor, temperature: float, *tables: Tensor) -> tuple[Tensor, ...]:
        few = _at_a_time(scores)
        drawn = []
        # The noise's place takes the softmax: each copy of (P, V) is tens of megabytes.
        for part, noisy in zip(scores.split(few), gumbel.split(few), strict=True):  # type: ignore[no-untyped-call]
            drawn.append(noisy.add_(part).argmax(-1))
            noisy.copy_(torch.softmax(noisy.div_(temperature), -1))
        tokens = torch.cat(drawn)
        ctx.save_for_backward(gumbel, *tables)
        ctx.temperature = temperature
        # The products that this stands for would be autocast too.
        device = scores.device.type
        ctx.half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        ctx.mark_non_differentiable(tokens)
        return (tokens, *(table[tokens] for table in tables))

    @staticmethod
    def backward(ctx: Any, _tokens: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        soft, *tables = ctx.saved_tensors
        kinds = [ctx.half or table.dtype for table in tables]
        towards, *others = (g.to(k) @ t.to(k).T for g, k, t in zip(grads, kinds, tables, strict=True))
        for other in others:
            towards += other
        few = _at_a_time(soft)
        for part, chances in zip(towards.split(few), soft.split(few), strict=True):
            # soft · (towards − Σ soft · towards), in one pass
            back = torch._softmax_backward_data(part.to(chances.dtype), chances, -1, chances.dtype)
            part.copy_(back.div_(ctx.temperature))
        return (towards, None, None, *(None for _ in tables))


def straight_through(
    scores: Tensor, gumbel: Tensor, temperature: float, tables: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sample (P,) tokens and look them up in each (V, d) table, with gradients to `scores` as if one had multiplied.

    `scores` and the standard Gumbel numbers are (P, V); the latter, float32, are overwritten.

    y_soft = softmax((scores + g)/τ), y = onehot(argmax y_soft) with the gradient of y_soft, result yW for each table W.
    Adding a constant to a line of scores changes nothing, so log_softmax(scores) would give the same.
    """
    tokens, *embeds = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        scores, gumbel, temperature, *(t.detach() for t in tables)
    )
    return tokens, tuple(embeds)


def embed_with(classifier: Classifier, batch: Batch, masked: Masked, invented: Tensor) -> Tensor:
    """(B, n, d) word embeddings of the batch in the classifier's table, with the (P, d) invented ones in place."""
    clean: Tensor = classifier.embedding(batch.input_ids).detach()
    return clean.flatten(0, 1).index_copy(0, masked.places, invented.to(clean.dtype)).view_as(clean)


def invent_embeds(
    generator: Generator,
    networks: Sequence[Classifier],
    batch: Batch,
    masked: Masked,
    temperature: float,
    noise: RowNoise,
) -> list[Tensor]:
    """(B, n, d) word embeddings of one invention for each network, with gradients to the generator."""
    scores = score_hidden(generator, masked, batch)
    gumbel = noise.gumbel(masked.counts, scores.shape[1], scores.device)
    _, words = straight_through(scores, gumbel, temperature, [network.embedding.weight for network in networks])
    return [embed_with(network, batch, masked, own) for network, own in zip(networks, words, strict=True)]


def read_embeds(classifier: Classifier, batch: Batch, embeds: Tensor, hidden: bool = False) -> Output:
    """What a classifier says of (B, n, d) embeddings of the same shape and mask as the batch's."""
    return classifier(
        inputs_embeds=embeds,
        attention_mask=batch.attention_mask,
        token_type_ids=batch.token_type_ids,
        hidden=hidden,
    )


@torch.no_grad()
def invent_inputs(
    generator: Generator, batch: Batch, rate: float, mask_id: int, noise: RowNoise
) -> tuple[Tensor, Masked]:
    """(B, n) invented tokens and what was masked, without gradients: what a student step learns from."""
    masked = mask_tokens(batch, rate, mask_id, noise)
    uniform = noise.uniform_each(masked.counts)
    if not (cut := pieces(batch)):
        return _drawn(generator, batch, masked, uniform), masked
    out, rows = batch.input_ids.clone(), uniform.split(masked.counts)  # type: ignore[no-untyped-call]
    for piece in cut:
        own = torch.cat([rows[row] for row in piece.rows.tolist()])
        out[piece.rows, : piece.width] = _drawn(generator, piece.batch(batch), masked.of(piece), own)
    return out, masked


def _drawn(generator: Generator, batch: Batch, masked: Masked, uniform: Tensor) -> Tensor:
    """(B, n) the batch with its hidden tokens drawn anew, by (P,) uniform numbers."""
    scores = score_hidden(generator, masked, batch)
    return fill(batch, masked, sample(scores, uniform.to(scores.device, non_blocking=True)))


def logits_of(classifier: Classifier, batch: Batch, input_ids: Tensor) -> Tensor:
    """(B, C) float32 logits on other tokens of the same shape and mask as the batch's."""

    def read(part: Batch, words: Tensor) -> tuple[Tensor]:
        return (read_embeds(classifier, part, words).logits.float(),)

    # Words are looked up once, so that the table has one gradient however many pieces there are.
    return by_pieces(read, batch, classifier.embedding(input_ids))[0]


def read_both(classifier: Classifier, batch: Batch, invented: Tensor, hidden: bool = False) -> Output:
    """What a classifier says of the batch and of the (B, n) invented tokens, in one pass: 2B lines."""
    types = batch.token_type_ids
    return classifier(
        input_ids=torch.cat([batch.input_ids, invented]),
        attention_mask=batch.attention_mask.repeat(2, 1),
        token_type_ids=None if types is None else types.repeat(2, 1),
        hidden=hidden,
    )


def logits_on_both(student: Classifier, batch: Batch, invented: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C) logits on the batch and on the invented tokens, in one pass."""
    clean, other = read_both(student, batch, invented).logits.float().chunk(2)
    return clean, other


@torch.no_grad()
def perplexity(generator: Generator, batch: Batch, masked: Masked, invented: Tensor) -> Tensor:
    """() exp of the mean negative log-likelihood of the invented tokens at the hidden positions."""
    cut = [(piece.batch(batch), masked.of(piece), piece.of(invented)) for piece in pieces(batch)]
    parts = [_log_chances(generator, *part) for part in cut or [(batch, masked, invented)]]
    return (-torch.cat(parts).mean()).exp()


def _log_chances(generator: Generator, batch: Batch, masked: Masked, invented: Tensor) -> Tensor:
    """(P,) log-likelihood of the invented tokens at the hidden positions."""
    log_p = score_hidden(generator, masked, batch).float().log_softmax(-1)
    tokens = invented.flatten()[masked.places]
    return log_p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


@torch.no_grad()
def show_inventions(made: tuple[Tensor, Masked], first: Generator, batch: Batch, parts: Parts) -> Invented:
    """What `invent_inputs` made, in the form of a diagnosis; `first` is the generator as first fitted."""
    invented, masked = made
    return Invented(
        input_ids=invented,
        changed=masked.hidden,
        teacher_logits=logits_of(parts.teacher, batch, invented),
        student_logits=logits_of(parts.student, batch, invented),
        perplexity=perplexity(first, batch, masked, invented),
    )


def mask_id(parts: Parts) -> int:
    """The [MASK] token's number; without one the vocabulary has no masked LM."""
    if parts.vocabulary.mask is None:
        raise ValueError("the vocabulary has no mask token")
    return parts.vocabulary.mask


def no_generator(setting: Setting) -> tuple[Problem, ...]:
    """What keeps a generator from writing: a vocabulary without a mask token."""
    if setting.masked_lm:
        return ()
    what = "its vocabulary has no mask token; take another teacher, or a method without a generator: ad2, eda, kd"
    return (Problem("teacher", what),)

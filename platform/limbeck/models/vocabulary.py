"""Models that exchange tokens must number them alike."""

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from limbeck.errors import Problem, UserError


class Tokenizer(Protocol):
    """What a vocabulary check needs of a tokenizer."""

    def get_vocab(self) -> dict[str, int]: ...


def check_same_vocabulary(tokenizers: Mapping[str, Tokenizer]) -> None:
    """Raise UserError when the tokenizers of any two roles map tokens to different ids."""
    (first, reference), *others = ((role, t.get_vocab()) for role, t in tokenizers.items())
    problems = [p for role, vocab in others if (p := _difference(first, reference, role, vocab))]
    if problems:
        raise UserError(*problems)


def check_same_tables(tables: Mapping[str, nn.Embedding]) -> None:
    """Raise UserError when embedding tables differ in rows: some models pad theirs beyond the vocabulary."""
    (first, reference), *others = ((role, table.num_embeddings) for role, table in tables.items())
    problems = [
        Problem(role, f"its embedding table has {rows} rows, but that of the {first} has {reference}")
        for role, rows in others
        if rows != reference
    ]
    if problems:
        raise UserError(*problems)


def _difference(first: str, reference: Mapping[str, int], role: str, vocab: Mapping[str, int]) -> Problem | None:
    if reference == vocab:
        return None
    # Pairs, because a vocabulary may give two tokens one id.
    place, _ = min((i, token) for token, i in reference.items() ^ vocab.items())
    there, here = (_at(place, table) for table in (reference, vocab))
    return Problem(
        role,
        f"the vocabulary ({len(vocab)} tokens) is not that of the {first} ({len(reference)} tokens): "
        f"id {place} is {there} there and {here} here. Use models of one tokenizer.",
    )


def _at(place: int, vocab: Mapping[str, int]) -> str:
    return " and ".join(sorted(repr(token) for token, i in vocab.items() if i == place)) or "nothing"

"""Models that exchange tokens must number them alike."""

from collections.abc import Mapping
from typing import Protocol

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


def _difference(first: str, reference: Mapping[str, int], role: str, vocab: Mapping[str, int]) -> Problem | None:
    if reference == vocab:
        return None
    by_id = {i: t for t, i in reference.items()}
    other = {i: t for t, i in vocab.items()}
    place = min(i for i in by_id.keys() | other.keys() if by_id.get(i) != other.get(i))
    here, there = (repr(table[place]) if place in table else "nothing" for table in (by_id, other))
    return Problem(
        role,
        f"the vocabulary ({len(vocab)} tokens) is not that of the {first} ({len(reference)} tokens): "
        f"id {place} is {there} here and {here} there. Use models of one tokenizer.",
    )

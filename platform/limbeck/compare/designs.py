"""Two-level designs: every combination of factors, or the fraction of them that a resolution allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import Problem, UserError

Term = tuple[str, ...]
MOST_FACTORS = 8

_GENERATORS: dict[tuple[int, int], tuple[str, ...]] = {
    (3, 3): ("C=AB",),
    (4, 3): ("D=ABC",),
    (4, 4): ("D=ABC",),
    (5, 3): ("D=AB", "E=AC"),
    (5, 4): ("E=ABCD",),
    (5, 5): ("E=ABCD",),
    (6, 3): ("D=AB", "E=AC", "F=BC"),
    (6, 4): ("E=ABC", "F=BCD"),
    (6, 5): ("F=ABCDE",),
    (7, 3): ("D=AB", "E=AC", "F=BC", "G=ABC"),
    (7, 4): ("E=ABC", "F=BCD", "G=ACD"),
    (7, 5): ("G=ABCDEF",),
    (8, 3): ("E=BCD", "F=ACD", "G=ABC", "H=ABD"),
    (8, 4): ("E=BCD", "F=ACD", "G=ABC", "H=ABD"),
    (8, 5): ("G=ABCD", "H=ABEF"),
}
"""(factors, resolution asked for) -> generators of the smallest fraction; a pair that is not here needs every run.
A generator of an even number of letters is taken with a minus, which keeps the run with every factor off.
Source: Montgomery, Design and Analysis of Experiments, 8th edition (2013), table 8.14."""


@dataclass(frozen=True)
class Design:
    """Runs in standard order (the first factor changes fastest): levels are −1 (factor off) and +1 (on)."""

    factors: tuple[str, ...]
    levels: NDArray[np.int8]  # (runs, factors)
    generators: tuple[str, ...] = ()
    resolution: int | None = None
    """Length of the shortest word of the defining relation; None for a full design, where nothing is aliased."""

    def column(self, term: Term) -> NDArray[np.int8]:
        """Return the (runs,) signs of a factor or an interaction of factors."""
        places = [self.factors.index(factor) for factor in term]
        return np.asarray(np.prod(self.levels[:, places], axis=1), np.int8)


def factorial_design(factors: Sequence[str], resolution: int | None = None) -> Design:
    """Return the full design, or the smallest fraction of at least this resolution (3, 4 or 5).

    Resolution 3 keeps main effects apart from each other, 4 also from two-factor interactions, 5 also two-factor
    interactions from each other. Where no fraction is good enough the design is full. UserError names what is wrong.
    """
    _check(factors, resolution)
    words = () if resolution is None else _GENERATORS.get((len(factors), resolution), ())
    letters = {chr(ord("A") + place): factor for place, factor in enumerate(factors)}
    free = len(factors) - len(words)
    levels = 2 * ((np.arange(2**free)[:, None] >> np.arange(free)) & 1) - 1
    for word in words:
        sources = [ord(letter) - ord("A") for letter in word[2:]]
        levels = np.column_stack([levels, _sign(word) * levels[:, sources].prod(axis=1)])
    named = tuple(
        f"{letters[word[0]]} = {'−' if _sign(word) < 0 else ''}{term_name([letters[letter] for letter in word[2:]])}"
        for word in words
    )
    return Design(tuple(factors), levels.astype(np.int8), named, _resolution(words))


@dataclass(frozen=True)
class AliasGroup:
    """A term of the lowest order, and those the design cannot tell from it, each with the sign it enters by."""

    term: Term
    others: tuple[tuple[int, Term], ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return how the other terms are printed."""
        return tuple(f"{'−' if sign < 0 else ''}{term_name(term)}" for sign, term in self.others)


def alias_groups(design: Design, order: int = 2) -> list[AliasGroup]:
    """Return the terms of up to `order` factors, grouped by what this design cannot tell apart, lowest order first."""
    groups: dict[bytes, AliasGroup] = {}
    for size in range(1, order + 1):
        for term in combinations(design.factors, size):
            column = design.column(term)
            sign = 1 if column.tobytes() in groups else -1
            known = groups.get((sign * column).tobytes())
            if known is None:
                groups[column.tobytes()] = AliasGroup(term)
            else:
                groups[(sign * column).tobytes()] = AliasGroup(known.term, (*known.others, (sign, term)))
    return list(groups.values())


def term_name(term: Sequence[str]) -> str:
    """Return how a term is printed."""
    return " × ".join(term)


def _sign(word: str) -> int:
    return 1 if len(word[2:]) % 2 else -1


def _resolution(words: Sequence[str]) -> int | None:
    """Return the length of the shortest product of the defining words, each a set of letters."""
    relation = [frozenset(word.replace("=", "")) for word in words]
    shortest: list[int] = []
    for size in range(1, len(relation) + 1):
        for chosen in combinations(relation, size):
            product: frozenset[str] = frozenset()
            for word in chosen:
                product ^= word
            shortest.append(len(product))
    return min(shortest, default=None)


def _check(factors: Sequence[str], resolution: int | None) -> None:
    problems = []
    if len(set(factors)) < len(factors) or not factors:
        problems.append(Problem("factors", f"needs one name or more, all different, got {list(factors)}"))
    if resolution not in (None, 3, 4, 5):
        problems.append(Problem("resolution", f"must be 3, 4 or 5, or left out for a full design, got {resolution}"))
    if len(factors) > MOST_FACTORS:
        problems.append(Problem("factors", f"a factorial design takes at most {MOST_FACTORS}, got {len(factors)}"))
    if problems:
        raise UserError(*problems)

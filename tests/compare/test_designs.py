"""Designs are checked for what they promise by brute force, not against the table they come from."""

from itertools import combinations

import numpy as np
import pytest

from limbeck.compare import Design, alias_groups, factorial_design
from limbeck.errors import UserError

FRACTIONS = [(k, resolution) for k in range(3, 9) for resolution in (3, 4, 5)]


def shortest_word(design: Design) -> int | None:
    """The fewest factors whose product is the same in every run: the resolution, by its definition."""
    for size in range(1, len(design.factors) + 1):
        for term in combinations(design.factors, size):
            if len(set(design.column(term).tolist())) == 1:
                return size
    return None


@pytest.mark.parametrize(("factors", "resolution"), FRACTIONS)
def test_a_fraction_keeps_its_resolution(factors: int, resolution: int) -> None:
    design = factorial_design([f"f{i}" for i in range(factors)], resolution)
    assert design.resolution == shortest_word(design)
    assert design.resolution is None or design.resolution >= resolution
    levels = design.levels.astype(int)
    assert (levels.T @ levels == len(levels) * np.eye(factors)).all()
    assert len(np.unique(levels, axis=0)) == len(levels)


@pytest.mark.parametrize(("factors", "resolution"), FRACTIONS)
def test_the_run_with_every_factor_off_comes_first(factors: int, resolution: int) -> None:
    assert (factorial_design([f"f{i}" for i in range(factors)], resolution).levels[0] == -1).all()


@pytest.mark.parametrize(("factors", "resolution"), FRACTIONS)
def test_main_effects_are_apart_from_what_the_resolution_says(factors: int, resolution: int) -> None:
    groups = alias_groups(factorial_design([f"f{i}" for i in range(factors)], resolution))
    for group in groups:
        for _, other in group.others:
            assert len(group.term) + len(other) >= resolution


def test_run_counts_of_montgomerys_table() -> None:
    # Montgomery, Design and Analysis of Experiments, 8th edition, table 8.14
    runs = {(3, 3): 4, (4, 4): 8, (5, 3): 8, (5, 5): 16, (6, 3): 8, (6, 4): 16, (7, 3): 8, (7, 4): 16, (8, 4): 16}
    got = {key: len(factorial_design("ABCDEFGH"[: key[0]], key[1]).levels) for key in runs}
    assert got == runs


def test_aliases_of_the_half_fraction_of_four() -> None:
    # Montgomery, example 8.1: I = ABCD, so AB = CD, AC = BD, AD = BC; main effects meet three-factor interactions only
    groups = alias_groups(factorial_design("ABCD", 4))
    assert [("".join(g.term), g.names()) for g in groups] == [
        ("A", ()),
        ("B", ()),
        ("C", ()),
        ("D", ()),
        ("AB", ("C × D",)),
        ("AC", ("B × D",)),
        ("AD", ("B × C",)),
    ]


def test_aliases_enter_with_their_sign() -> None:
    design = factorial_design(["a", "b", "c"], 3)
    assert design.generators == ("c = −a × b",)
    assert alias_groups(design)[0].names() == ("−b × c",)
    assert (design.column(("a",)) == -design.column(("b", "c"))).all()


def test_a_full_design_aliases_nothing() -> None:
    design = factorial_design(["a", "b", "c"])
    assert len(design.levels) == 8
    assert design.resolution is None
    assert [len(group.others) for group in alias_groups(design, 3)] == [0] * 7


def test_what_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError) as told:
        factorial_design(list("abcdefghi"), 6)
    assert len(told.value.problems) == 2
    with pytest.raises(UserError, match="all different"):
        factorial_design(["a", "a"])

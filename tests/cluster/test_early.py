import math

from limbeck.cluster.early import Halving
from limbeck.sections import SearchConfig

SEARCH = SearchConfig(early_stop="asha", grace=0.25, reduction=2)
"""Rungs at 0.25 and 0.5 of a trial's budget; the better half goes on."""


def test_the_lower_half_of_a_rung_stops() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.8)
    assert not halving.goes_on("b", 0.25, 0.5)
    assert halving.goes_on("c", 0.25, 0.9)


def test_small_is_good_where_the_plan_says_so() -> None:
    halving = Halving(SEARCH, "min")
    assert halving.goes_on("a", 0.25, 0.5)
    assert not halving.goes_on("b", 0.25, 0.8)
    assert halving.goes_on("c", 0.25, 0.4)


def test_no_trial_is_judged_before_its_grace_or_at_its_end() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.9)
    assert halving.goes_on("b", 0.2, 0.1)
    assert halving.goes_on("b", 1.0, 0.1)


def test_no_number_decides_nothing() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, math.nan)
    assert halving.goes_on("b", 0.25, 0.1), "it is the first on the rung"


def test_a_rung_that_was_passed_is_not_judged_again() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.5)
    assert halving.goes_on("b", 0.25, 0.9)
    assert halving.goes_on("a", 0.3, 0.5), "it was the first on its rung, and stays there"

"""Domains: which values they hold, and what is no domain."""

from typing import Any

import pytest

from limbeck.domains import Domain, parse_domain


def domain(raw: Any) -> Domain:
    got, faults = parse_domain(raw)
    assert got is not None, faults
    return got


def test_ranges_hold_their_bounds_and_what_lies_between() -> None:
    assert domain({"uniform": [0.1, 0.5]}).contains(0.1)
    assert domain({"uniform": [0.1, 0.5]}).contains(0.5)
    assert not domain({"uniform": [0.1, 0.5]}).contains(0.51)
    assert domain({"int": [1, 4]}).contains(3)
    assert not domain({"int": [1, 4]}).contains(2.5)
    assert not domain({"int": [0, 4]}).contains(True)
    assert domain({"choice": [1, "kl", None]}).contains("kl")
    assert not domain({"choice": [1, "kl", None]}).contains(True)


@pytest.mark.parametrize(
    ("raw", "probes", "grid"),
    [
        ({"choice": ["a", [1], {"b": 2}]}, ["a", [1], {"b": 2}], ["a", [1], {"b": 2}]),
        ({"int": [1, 4]}, [1, 2, 3, 4], [1, 2, 3, 4]),
        ({"int": [100, 500], "step": 200}, [100, 500], [100, 300, 500]),
        ({"int": [1, 7], "step": 3}, [1, 4, 7], [1, 4, 7]),
        ({"uniform": [0.1, 0.4], "step": 0.1}, [0.1, 0.4], [0.1, 0.2, 0.3, 0.4]),
        ({"uniform": [0, 1]}, [0, 0.38, 1], None),
        ({"int": [0, 10**9]}, [0, 10**9], None),
    ],
)
def test_probes_stand_for_the_domain_and_grids_count_it(raw: Any, probes: list[Any], grid: list[Any] | None) -> None:
    assert domain(raw).probes() == pytest.approx(probes) if raw.get("uniform") else domain(raw).probes() == probes
    assert domain(raw).grid() == grid


def test_a_logarithmic_range_is_probed_between_its_bounds() -> None:
    low, middle, high = domain({"loguniform": [1e-7, 1e-5]}).probes()
    assert (low, high) == (1e-7, 1e-5)
    assert 5e-7 < middle < 1e-6


def test_conditions_are_values_or_lists_of_values() -> None:
    got = domain({"int": [1, 2], "when": {"a.b": "kl", "c": [1, 2]}})
    assert got.when == {"a.b": ("kl",), "c": (1, 2)}


@pytest.mark.parametrize(
    ("raw", "path", "words"),
    [
        (0.3, "", "must be a mapping such as {uniform: [0.1, 0.5]}, got 0.3"),
        ({}, "", "must have exactly one of uniform, loguniform, int, choice, got none"),
        ({"uniform": [0, 1], "choice": [1]}, "", "got uniform and choice"),
        ({"unifrom": [0, 1]}, "unifrom", "Did you mean 'uniform'?"),
        ({"uniform": [0, 1, 2]}, "uniform", "must be [lowest, highest], two numbers, got [0, 1, 2]"),
        ({"uniform": [True, 2]}, "uniform", "two numbers"),
        ({"uniform": ["0", 1]}, "uniform", "two numbers"),
        ({"uniform": [1, 1]}, "uniform", "the first number must be below the second"),
        ({"int": [1, 2.5]}, "int", "two whole numbers"),
        ({"loguniform": [0, 1]}, "loguniform", "must start above 0"),
        ({"loguniform": [1, 2], "step": 1}, "step", "a logarithmic range has no step"),
        ({"uniform": [0, 1], "step": 0.3}, "step", "must divide the range [0, 1] into equal parts, got 0.3"),
        ({"uniform": [0, 1], "step": 2}, "step", "must divide"),
        ({"int": [0, 4], "step": 0.5}, "step", "must be a whole number above 0"),
        ({"int": [0, 4], "step": 0}, "step", "above 0"),
        ({"choice": "kl"}, "choice", "must be a list of values, got kl"),
        ({"choice": []}, "choice", "must be a list of values"),
        ({"choice": [1, 1.0]}, "choice", "1.0 is given twice"),
        ({"choice": [1], "step": 1}, "step", "belongs to a range"),
        ({"choice": [1], "when": "kl"}, "when", "must be a mapping"),
        ({"choice": [1], "when": {"a": []}}, "when.a", "the list of values is empty"),
    ],
)
def test_what_is_no_domain_is_told_why(raw: Any, path: str, words: str) -> None:
    got, faults = parse_domain(raw)
    assert got is None
    assert any(fault.path == path and words in fault.what for fault in faults), faults

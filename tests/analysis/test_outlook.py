"""What a design will show, before it runs: from nothing, and from an earlier sweep's noise."""

from pathlib import Path

import pytest

from limbeck.analysis.outlook import comparisons_of, fraction, known_noise, outlook
from limbeck.compare import Noise, minimum_detectable_difference
from stored_results import Results, ablation_of, logits


@pytest.mark.parametrize(
    ("design", "cells", "factors", "resolution", "tasks", "count"),
    [
        ("leave-one-out", 6, ("a", "b", "c", "d", "e"), None, 1, 5),
        ("add-one-in", 3, ("a", "b"), None, 1, 2),
        ("leave-one-out", 12, ("a", "b", "c", "d", "e"), None, 2, 15),
        ("factorial", 8, ("a", "b", "c"), None, 1, 6),
        ("factorial", 8, ("a", "b", "c", "d"), 4, 1, 7),
    ],
)
def test_how_many_comparisons_a_design_makes(
    design: str, cells: int, factors: tuple[str, ...], resolution: int | None, tasks: int, count: int
) -> None:
    assert comparisons_of(design, cells, factors, resolution, tasks) == count


def test_without_an_earlier_sweep_the_size_is_in_deviations() -> None:
    lines = outlook(5, 1, None)
    size = minimum_detectable_difference(5, Noise(1.0))
    assert lines[0] == (
        f"Smallest detectable difference: {size:.2f} standard deviations between seeds (alpha = 0.05, power 80 %)."
    )
    warning = "5 seeds cannot reach p < 0.05 under the wilcoxon test: its smallest p is 0.0625; 6 seeds are needed"
    assert f"warning: {warning}" in lines
    assert lines[-1].startswith("The permutation test over seeds and examples, which `limbeck ablation` uses")


@pytest.mark.parametrize(
    ("resolution", "mixed"),
    [(3, "a factor's effect is mixed"), (4, "two factors are mixed"), (5, "one and two factors")],
)
def test_a_fraction_says_what_it_mixes(resolution: int, mixed: str) -> None:
    (told,) = fraction("abcdef", resolution)
    assert f"A fraction of resolution {resolution if resolution < 5 else 6}, " in told
    assert mixed in told


def test_a_full_design_mixes_nothing() -> None:
    assert fraction("abc", None) == fraction("abc", 4) == []


def test_two_seeds_are_told_of() -> None:
    assert any("8 % false positives" in line for line in outlook(2, 1, None))
    assert not any("false positives" in line for line in outlook(3, 1, None))


def test_one_seed_detects_nothing() -> None:
    lines = outlook(1, 5, None)
    assert lines[0].startswith("One seed detects nothing")
    assert any("under the permutation test" in line for line in lines)
    assert not any("which `limbeck ablation` uses" in line for line in lines)


def test_enough_seeds_warn_of_nothing() -> None:
    assert not [line for line in outlook(10, 1, None) if "warning" in line]


def test_an_earlier_sweep_tells_the_noise(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep("search", "name: search\n", "search")
    results.trial("0000", 0, logits(36), sweep="search")
    assert known_noise(results.reader(), "movies") is None
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29)})
    assert known_noise(results.reader(), "topics") is None
    results.sweep("broken", "name: broken\n", "ablation")
    found = known_noise(results.reader(), "movies")
    assert found is not None
    assert found.sweep == "parts"
    # Seed differences −6, −4 and −8 of 36.
    assert found.noise.seed_deviation == pytest.approx(2 / 36)
    assert found.noise.examples == 40
    lines = outlook(5, 2, found)
    size = minimum_detectable_difference(5, found.noise, comparisons=2)
    assert f"{100 * size:.2g} points of retention" in lines[0]
    assert lines[0].endswith("Noise as in sweep parts.")

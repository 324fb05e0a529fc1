"""Ablations as tables: what papers print and what scripts read."""

import json
from pathlib import Path

import numpy as np
import pytest

from limbeck.analysis import ablation_tables as tables
from limbeck.analysis import words
from limbeck.analysis.ablation import Ablation, Question, ablation
from limbeck.compare import Resampling
from limbeck.report import to_csv, to_json, to_latex, to_markdown, to_text
from stored_results import PLAN, Results, ablation_of

QUICK = Resampling(resamples=200, draws=9_999)
CAPTION = (
    "parts on movies (test), leave-one-out, 100 student updates a run; n = 3 seeds × 40 test examples; 95 % bootstrap "
    "intervals over seeds and examples; differences to 'reference' paired by seed and example, two-sided permutation "
    "test, Holm's correction over 2 comparisons."
)


@pytest.fixture
def found(tmp_path: Path) -> Ablation:
    results = Results(tmp_path)
    results.sweep()
    ablation_of(results, {"reference": (39, 38, 39), "adversary": (20, 21, 20), "divergence": (38, 39)})
    results.trial("divergence", 2, None, state="failed", error="out of memory")
    return ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK))


def test_the_caption_says_n_test_and_correction(found: Ablation) -> None:
    (table,) = tables.cells_tables(found)
    assert table.caption == CAPTION
    assert table.notes[0] == words.MARKS_TOLD
    assert table.notes[1].startswith("d_z: Cohen's effect size")
    assert table.notes[2].startswith("Smallest detectable difference: ")
    assert table.notes[3:] == ("Teacher: accuracy 90.0 %.", "divergence: no result for seed 2 (failed: out of memory).")


def test_the_paper_has_marks_and_the_best_in_bold(found: Ablation) -> None:
    (table,) = tables.cells_tables(found)
    latex = to_latex(table)
    rows = {line.split(" & ")[0]: line.split(" & ") for line in latex.splitlines() if " & " in line}
    assert r"\textbf{" in rows["reference"][3]
    assert rows["adversary"][5] == "$-50.9^{**}$"
    assert rows["divergence"][5].endswith(r"^{\mathrm{n.s.}}$")
    assert rows["divergence"][1] == "2 of 3"
    assert r"\toprule" in latex
    assert r"p \textless{} 0.001" in latex
    latex.encode("latin-1", "strict")


def test_missing_seeds_show_in_every_form(found: Ablation) -> None:
    (table,) = tables.cells_tables(found)
    for text in (to_text(table), to_markdown(table), to_latex(table)):
        assert "2 of 3" in text
        assert "no result for seed 2 (failed: out of memory)" in text
    raw = json.loads(to_json(tables.raw_cells(found)))
    assert [row["missing_seeds"] for row in raw] == [[], [], [2]]
    assert "[2]" in to_csv(tables.raw_cells(found)).splitlines()[3]


def test_scripts_get_every_number(found: Ablation) -> None:
    raw = json.loads(to_json(tables.raw_cells(found)))
    adversary = raw[1]
    assert adversary["cell"] == "adversary"
    assert (adversary["n_seeds"], adversary["n_pairs"], adversary["n_examples"]) == (3, 3, 40)
    assert adversary["difference"] == pytest.approx((61 - 116) / 108)
    assert adversary["p"] <= adversary["p_adjusted"] < 0.05
    facts = tables.as_json(found)
    assert (facts["reference"], facts["correction"], facts["comparisons"]) == ("reference", "holm", 2)
    assert facts["captions"] == {"movies": CAPTION}
    assert facts["power"][0]["seeds"] == 3
    tests = json.loads(to_json(tables.raw_mcnemar(found)))
    assert [(t["cell"], t["seed"]) for t in tests] == [
        *(("adversary", s) for s in range(3)),
        *(("divergence", s) for s in (0, 1)),
    ]
    json.dumps(facts, allow_nan=False)


def test_each_seeds_students_against_the_references(found: Ablation) -> None:
    (table,) = tables.mcnemar_tables(found)
    # The adversary's students are right on the last 20, 21 and 20 answers, the reference's on all but one or two.
    assert table.rows[0][:2] == ("adversary", "0 : 19 (p < 0.001)")
    assert table.rows[1][0] == "divergence"
    assert table.rows[1][3] is None
    assert "of 40 test examples" in table.caption
    assert "exact McNemar test" in table.caption


def test_one_seed_says_nothing_about_seeds(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep(plan=PLAN.replace("[0, 1, 2]", "[0]"))
    ablation_of(results, {"reference": (36,), "adversary": (30,)})
    (table,) = tables.cells_tables(ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK)))
    assert table.caption.endswith("; n = 1 seed × 40 test examples; 95 % bootstrap intervals over examples.")


def test_a_cell_of_one_seed_among_others_is_named(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep()
    ablation_of(results, {"reference": (36, 35, 37), "adversary": (30, 31, 29), "divergence": (36,)})
    (table,) = tables.cells_tables(ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK)))
    told = "One seed, so that intervals are over examples alone and nothing is tested: divergence."
    assert told in table.notes


def test_a_fraction_says_its_resolution(tmp_path: Path) -> None:
    results = Results(tmp_path)
    fraction = PLAN.replace("leave-one-out", "factorial\n  resolution: 3").replace(
        "seeds:", "    gold: {method.x: 1}\nseeds:"
    )
    results.sweep(plan=fraction)
    names = ("reference", "adversary+gold", "divergence+gold", "adversary+divergence")
    ablation_of(results, {name: (36 - 2 * place,) * 2 for place, name in enumerate(names)})
    (table,) = tables.effects_tables(ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK)))
    assert "fraction of resolution 3: effects on retention" in table.caption
    assert [row[:2] for row in table.rows][2] == ("gold", "−adversary × divergence")


def test_effects_of_a_factorial_design(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep(plan=PLAN.replace("leave-one-out", "factorial"))
    right = {"reference": (36,) * 3, "adversary": (32, 33, 32), "divergence": (35,) * 3}
    ablation_of(results, {**right, "adversary+divergence": (20, 21, 20)})
    found = ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK))
    (table,) = tables.effects_tables(found)
    assert [row[0] for row in table.rows] == ["adversary", "divergence", "adversary × divergence"]
    assert table.rows[0][3].startswith("−25.5 *")
    assert "full factorial design: effects on retention" in table.caption
    assert "Holm's correction over 3 effects" in table.caption
    raw = json.loads(to_json(tables.raw_effects(found)))
    assert raw[0]["estimate"] == pytest.approx((32 + 33 + 32 + 20 + 21 + 20 - 36 * 3 - 35 * 3) / 6 / 36)


def test_a_table_for_every_task_and_one_over_all(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep(plan=PLAN + "tasks: [movies, topics]\n")
    for task in ("movies", "topics"):
        ablation_of(results, {f"reference@{task}": (36,) * 3, f"adversary@{task}": (30,) * 3}, task=task)
    found = ablation(results.reader(), "parts", np.random.default_rng(0), Question(how=QUICK))
    one, _, together = tables.cells_tables(found)
    assert "parameters" in [column.key for column in one.columns]
    assert [column.key for column in together.columns][-1] == "probability_of_improvement"
    assert together.caption.startswith("parts on all tasks (test)")


@pytest.mark.parametrize(
    ("share", "signed", "text"),
    [(0.9731, False, "97.3"), (-0.0123, True, "−1.2"), (0.0123, True, "+1.2"), (-0.0001, True, "0.0")],
)
def test_shares_read_in_percent(share: float, signed: bool, text: str) -> None:
    assert words.percent(share, signed=signed) == text


@pytest.mark.parametrize(
    ("p", "text", "shown"),
    [
        (0.0004, "***", "< 0.001"),
        (0.004, "**", "0.004"),
        (0.04, "*", "0.040"),
        (0.05, "n.s.", "0.050"),
        (None, "", None),
    ],
)
def test_marks_and_p_values(p: float | None, text: str, shown: str | None) -> None:
    assert words.mark(p) == text
    assert words.p_value(p) == shown


def test_an_interval_without_ends_is_none() -> None:
    assert words.percent_interval(None, 0.1) is None
    assert words.points_interval(float("nan"), 0.1) is None
    assert words.points_interval(-0.019, 0.004) == "−1.9 to +0.4"

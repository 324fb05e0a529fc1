"""The commands: what they print, in which form, and what they refuse."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from limbeck.cli import main
from limbeck.cli.analysis import FORMATS
from stored_results import PLAN, Results, ablation_of, logits

Run = Callable[..., tuple[int, str, str]]
READS = ["ablation", "retention", "scaling", "costs"]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.sweep()
    ablation_of(made, {"reference": (36, 35, 37), "adversary": (30, 31, 29), "divergence": (36, 36, 36)})
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command on the database of this test."""
    for name in ("LIMBECK_HOME", "LIMBECK_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--home", str(tmp_path)])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("command", READS)
def test_every_command_writes_every_form(run: Run, results: Results, command: str, form: str, tmp_path: Path) -> None:
    code, out, _ = run(command, "parts", "--format", form)
    assert code == 0
    assert len(out) > 100
    file = tmp_path / "out.txt"
    code, nothing, told = run(command, "parts", "--format", form, "--to", str(file))
    assert (code, nothing, told.strip()) == (0, "", f"written to {file}")
    written = file.read_text(encoding="utf-8")
    if form == "json":
        assert json.loads(written) == json.loads(out)
    if form == "csv":
        assert len({len(row) for row in csv.reader(written.splitlines())}) == 1
    if form == "latex":
        assert written.count(r"\begin{table") == written.count(r"\end{table") > 0


def test_the_ablations_json(run: Run, results: Results) -> None:
    found = json.loads(run("ablation", "parts", "--format", "json")[1])
    assert [row["cell"] for row in found["cells"]] == ["reference", "adversary", "divergence"]
    assert found["cells"][1]["difference"] == pytest.approx(-18 / 108)
    assert (found["effects"], found["design"], found["seeds"]) == ([], "leave-one-out", [0, 1, 2])
    assert found == json.loads(run("ablation", "parts", "--format", "json")[1])


@pytest.mark.parametrize("form", FORMATS)
def test_mcnemars_tests_in_every_form(run: Run, results: Results, form: str) -> None:
    code, out, _ = run("ablation", "parts", "--mcnemar", "--format", form)
    assert code == 0
    if form == "json":
        tests = json.loads(out)["mcnemar"]
        assert [(t["cell"], t["seed"]) for t in tests][:4] == [*(("adversary", s) for s in range(3)), ("divergence", 0)]
    elif form == "csv":
        assert out.splitlines()[0] == "task,cell,seed,only_first,only_second,p"
        assert len(out.splitlines()) == 7
    else:
        assert "0 : 6 (p 0.031)" in out


def test_mcnemars_test_needs_answers(run: Run, tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep()
    ablation_of(results, {"reference": (36, 35), "adversary": (30, 31)}, keep=False)
    code, _, told = run("ablation", "parts", "--mcnemar")
    assert (code, told) == (2, "--mcnemar: of parts no right and wrong answers are kept\n")


def test_a_table_in_a_pipe_is_whole(run: Run, results: Results) -> None:
    wide = " ".join(["far too long a name for a narrow table to hold in one line of its own"] * 3)
    results.trial(wide, 0, logits(36))
    assert wide in run("ablation", "parts")[1]


def test_options_of_the_ablation(run: Run, results: Results) -> None:
    options = ("--reference", "adversary", "--measure", "metric", "--format", "json")
    found = json.loads(run("ablation", "parts", *options)[1])
    assert found["cells"][0]["measure"] == "accuracy"
    assert found["cells"][0]["difference"] == pytest.approx(18 / 120)
    code, out, told = run("ablation", "parts", "--split", "amazon")
    assert (code, out) == (2, "")
    assert "--split: nothing was measured on 'amazon' of movies. Allowed: test." in told
    code, _, told = run("ablation", "prats")
    assert code == 2
    assert "Did you mean 'parts'" in told
    assert run("ablation", "parts", "--to", "/nowhere/at/all")[0] == 2


def test_effects_as_csv(run: Run, tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep(plan=PLAN.replace("leave-one-out", "factorial"))
    cells = {"reference": (36, 36), "adversary": (32, 32), "divergence": (35, 35), "adversary+divergence": (27, 27)}
    ablation_of(results, cells)
    lines = run("ablation", "parts", "--format", "csv", "--effects")[1].splitlines()
    assert lines[0].startswith("task,term,aliases")
    assert len(lines) == 4
    assert "effect of" in run("ablation", "parts")[1]


def test_confirm_refuses_what_it_cannot_do(run: Run, results: Results) -> None:
    code, _, told = run("confirm", "parts", "--top", "0", "--seeds", "0", "--name", "other")
    assert code == 2
    assert told.splitlines() == [
        "--top: must be 1 or more",
        "--seeds: must be 1 or more",
        "--name: must begin with parts-confirm, by which tables find it",
    ]


def test_confirm_runs_the_best_on_fresh_seeds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from limbeck.cluster import sweep
    from limbeck.cluster.ledger import Standing
    from limbeck.plan import Plan, parse_plan

    results = Results(tmp_path)
    text = """
name: found
base: {task: movies, method: kd}
vary: {method.temperature: {choice: [1, 2, 4]}}
search: {sampler: random, trials: 3}
seeds: [0]
"""
    results.sweep("found", text, "search")
    plan = parse_plan(text, "found")
    for cell, temperature, kept in (("0000", 1, 0.90), ("0001", 2, 0.95), ("0002", 4, 0.80)):
        values = {"method.temperature": temperature}
        spec = plan.spec(values, 0).model_dump(mode="json")
        results.trial(cell, 0, logits(36), sweep="found", spec=spec, values=values, metrics={"retention": kept})
    ran: list[Plan] = []

    def run_sweep(plan: Plan, site: sweep.Site) -> sweep.SweepResult:
        ran.append(plan)
        results.sweep(plan.name, plan.text, plan.kind)
        for place, cell in enumerate(plan.cells()):
            for seed in plan.seeds:
                spec = plan.spec(cell.values, seed).model_dump(mode="json")
                results.trial(cell.name, seed, logits(33 - place), sweep=plan.name, spec=spec)
        return sweep.SweepResult(plan.name, "complete", Standing(4, complete=4))

    monkeypatch.setattr(sweep, "run_sweep", run_sweep)
    code, out, told = run("confirm", "found", "--top", "2", "--seeds", "2")
    assert code == 0
    assert (ran[0].name, ran[0].seeds) == ("found-confirm", (1, 2))
    assert [ran[0].spec(cell.values, 1).method.model_dump()["temperature"] for cell in ran[0].cells()] == [2.0, 1.0]
    assert told.splitlines()[0] == "1: configuration 0001 (retention 0.9500)"
    assert "91.7 %" in out
    assert "unconfirmed" in out
    assert f"limbeck ablation found-confirm --home {tmp_path}" in out


def test_leaderboards_show_what_was_confirmed(run: Run, tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.sweep("found", "name: found\n", "search")
    spec = {"method": {"name": "kd"}}
    results.trial("0000", 0, logits(36), sweep="found", spec={**spec, "seed": 0})
    assert "confirmed" not in run("leaderboard", "found", "--format", "csv")[1]
    unconfirmed = "Unconfirmed: the best of many flatters; see `limbeck confirm found`."
    assert unconfirmed in run("leaderboard", "found")[1]
    assert unconfirmed in run("retention", "found")[1]
    results.sweep("found-confirm", "name: found-confirm\n", "single")
    results.trial("base", 5, logits(33), sweep="found-confirm", spec={**spec, "seed": 5})
    out = run("leaderboard", "found", "--format", "csv")[1]
    assert out.splitlines()[0].endswith("confirmed,confirmed_over")
    assert "(1 seed)" in out
    assert "Unconfirmed" not in run("leaderboard", "found")[1]
    assert "Unconfirmed" not in run("leaderboard", "found-confirm")[1]


def test_validate_says_what_an_ablation_can_show(run: Run, results: Results) -> None:
    code, out, _ = run("validate", "ablations/mate")
    assert code == 0
    power = [line for line in out.splitlines() if line.startswith("  power")]
    assert "points of retention (alpha = 0.05, power 80 %, over 5 comparisons). Noise as in sweep parts." in power[0]
    assert any("warning: 5 seeds cannot reach p < 0.05 under the wilcoxon test" in line for line in power)
    assert "  power" not in run("validate", "mate")[1]


def test_validate_says_what_a_fraction_mixes(run: Run, tmp_path: Path) -> None:
    plan = tmp_path / "fraction.yaml"
    factors = {"a": "mask_rate: 0.1", "b": "divergence: mse", "c": "generator.frozen: true", "d": "student_steps: 3"}
    lines = [f"    {name}: {{method.{change}}}" for name, change in factors.items()]
    head = ["base: {task: movies, method: mate}", "seeds: [0, 1]", "ablate:", "  design: factorial", "  resolution: 4"]
    plan.write_text("\n".join([*head, "  factors:", *lines]), encoding="utf-8")
    out = run("validate", str(plan))[1]
    assert "trials  16: 8 configurations x 2 (seeds 0, 1)" in out
    told = "8 of 16 combinations (d = a × b × c): interactions of two factors are mixed with each other."
    assert f"A fraction of resolution 4, {told}" in out
    assert "Two seeds make the test bold" in out
    assert "A fraction" not in run("validate", str(plan), "--set", "ablate.resolution=null")[1]

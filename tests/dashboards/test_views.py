"""What the pages say of a database with sweeps of every kind and state."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from limbeck.analysis.ablation import Question, ablation
from limbeck.analysis.words import p_value
from limbeck.store import NewSweep, NewTrial, Outcome, open_reader, open_store

from .conftest import Open, numbers, run, said, tables
from .demo import HOSTILE

PAGES = ["overview", "sweep", "retention", "ablations", "trial", "compare", "export"]
VIEWS = ["Leaderboard", "Curves", "History", "Parallel", "Slices", "Importance", "Front"]
SHOWS = ["Curves", "Tricks", "Configuration", "Resources", "Log"]


def address(app: AppTest, name: str) -> list[str]:
    """What stands in the address; a single value comes back bare."""
    value = app.query_params.get(name, [])
    return [value] if isinstance(value, str) else list(value)


def escaped(text: str) -> str:
    """Text as a place that reads Markdown must be given it."""
    import words

    return words.literal(text)


def figure(app: AppTest) -> dict[str, Any]:
    """The first figure of a page."""
    return dict(json.loads(app.get("echarts_chart")[0].proto.spec))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_without_an_address(at_demo: Path, open_page: Open, page: str) -> None:
    app = open_page(page)
    assert len(app.main) > 1
    if page not in ("overview", "retention", "compare"):
        assert address(app, "sweep") == ["factors" if page == "ablations" else "mate"]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("sweep", ["mate", "sizes", "begun", "killed", HOSTILE])
def test_every_view_of_every_sweep_opens(at_demo: Path, open_page: Open, sweep: str, view: str) -> None:
    app = open_page("sweep", sweep=sweep, view=view)
    assert address(app, "sweep") == [sweep]
    assert address(app, "view") == ([] if view == VIEWS[0] else [view]), "what is usual is left out"


def test_the_overview_tells_state_progress_best_and_cost(at_demo: Path, open_page: Open) -> None:
    app = open_page()
    shown = numbers(app)
    assert shown["Sweeps running"] == "1 of 7"
    table = app.dataframe[0].value.set_index("sweep")
    assert list(table.index)[:2] == ["mate", "factors"]
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        rows = reader.trials("mate", states=["complete"], brief=True)
        best = max(rows, key=lambda row: row.objective["retention"])
        assert table.at["mate", "retention"] == pytest.approx(100 * (best.retention or 0.0))
        assert table.at["mate", "done"] == pytest.approx(100 * 33 / 40)
    assert table.at["mate", "state"] == "▶ running"
    assert table.at["killed", "state"] == "? no sign of life"
    assert table.at["mate-ablation", "failed"] == 2
    assert "limbeck sweep --resume killed" in said(app)


def test_the_leaderboard_has_the_order_of_the_command_line(at_demo: Path, open_page: Open) -> None:
    from limbeck.report import leaderboard

    app = open_page("sweep", sweep="mate")
    links = app.dataframe[0].value["trial"].tolist()
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        expected = [row.trial for row in leaderboard(reader, "mate")]
    assert [link.rpartition("=")[2] for link in links] == expected


def test_a_filter_keeps_what_it_names_and_stands_in_the_address(at_demo: Path, open_page: Open) -> None:
    app = open_page("sweep", sweep="mate", filter="state = complete and layers >= 3")
    kept = app.dataframe[0].value
    assert set(kept["state"]) == {"complete"}
    assert set(kept["layers"]) == {3, 4}
    app.text_input[0].set_value("layers = 1")
    run(app)
    assert set(app.dataframe[0].value["layers"]) == {1}
    assert address(app, "filter") == ["layers = 1"]
    app.text_input[0].set_value("leyers = 1")
    run(app)
    assert escaped("leyers = 1: no such column. Did you mean 'layers'?") in said(app)


def test_a_link_to_what_is_gone_says_so_and_shows_something_else(at_demo: Path, open_page: Open) -> None:
    app = open_page("sweep", sweep="lost")
    assert "“lost” is not here" in said(app)
    assert app.selectbox[0].value == "mate"
    app = open_page("trial", sweep="mate", trial="lost")
    assert "“lost” is not in this sweep" in said(app)


def test_going_back_takes_a_choice_back(at_demo: Path, open_page: Open) -> None:
    app = open_page("sweep", sweep="mate", order="seed")
    views = app.get("button_group")[0]
    views.set_value("Importance")
    run(app)
    assert (address(app, "view"), address(app, "order")) == (["Importance"], ["seed"])
    del app.query_params["view"]
    run(app)
    assert app.get("button_group")[0].value == "Leaderboard"
    assert address(app, "view") == []
    assert app.selectbox[1].value == "seed", "what was chosen besides stays"


def test_what_is_minimised_leads_where_it_is_low(at_nothing: Path, open_page: Open) -> None:
    paths = [f"method.s{i}" for i in range(10)]
    with open_store(f"sqlite:///{at_nothing / 'limbeck.db'}") as store:
        store.add_sweep(NewSweep("low", "", "search", "movies", {"selection/kl": "min"}))
        for cell in range(20):
            # The last setting tells the five best from the rest, every other one the five worst.
            values = dict.fromkeys(paths, cell >= 15) | {paths[-1]: cell < 5}
            for seed in range(2):
                trial = f"t{cell}-{seed}"
                store.add_trials("low", [NewTrial(trial, 2 * cell + seed, f"c{cell}", seed, values)])
                found = {"selection/kl": 0.1 + cell / 100 + seed / 1000}
                store.finish_trial("low", trial, "complete", Outcome(found, parameters=(20 - cell) * 1_000_000))
    lines = figure(open_page("sweep", sweep="low", view="Parallel"))
    assert "s9" in [axis["name"] for axis in lines["parallelAxis"]]
    assert len(lines["parallelAxis"]) == 9 + 1
    app = open_page("sweep", sweep="low", view="Front")
    front = next(one["data"] for one in figure(app)["series"] if one["name"] == "front")
    assert [trial for _, _, trial in front] == [f"t{cell}-0" for cell in reversed(range(20))]
    assert "both the lower the better" in said(app)


def test_importances_count_configurations_not_seeds(at_nothing: Path, open_page: Open) -> None:
    with open_store(f"sqlite:///{at_nothing / 'limbeck.db'}") as store:
        store.add_sweep(NewSweep("few", "", "grid", "movies", {"retention": "max"}))
        for i in range(12):
            store.add_trials("few", [NewTrial(f"t{i}", i, f"c{i % 4}", i // 4, {"student.layers": i % 4})])
            store.finish_trial("few", f"t{i}", "complete", Outcome({"retention": 0.9}))
    shown = said(open_page("sweep", sweep="few", view="Importance"))
    assert "10 complete configurations or more that differ; there are 4" in shown


def test_what_is_usual_follows_the_results(at_demo: Path, open_page: Open) -> None:
    app = open_page("sweep", sweep="sizes")
    assert {"method", "layers"} & set(app.dataframe[0].value.columns)
    app.selectbox[0].set_value("mate")
    run(app)
    assert "mask_rate" in app.dataframe[0].value.columns, "columns of the new sweep, none being chosen"
    assert address(app, "columns") == []


def test_choosing_another_sweep_changes_the_address(at_demo: Path, open_page: Open) -> None:
    app = open_page("trial", sweep="mate")
    app.selectbox[0].set_value("sizes")
    run(app)
    assert address(app, "sweep") == ["sizes"]
    assert app.warning == []
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        assert address(app, "trial")[0] in {row.trial for row in reader.trials("sizes", brief=True)}


@pytest.mark.parametrize("show", SHOWS)
@pytest.mark.parametrize("state", ["complete", "running", "failed", "stopped", "waiting"])
def test_every_view_of_a_trial_in_every_state_opens(at_demo: Path, open_page: Open, show: str, state: str) -> None:
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        trial = reader.trials("mate", states=[state], brief=True)[0].trial  # type: ignore[list-item]
    app = open_page("trial", sweep="mate", trial=trial, show=show)
    assert address(app, "trial") == [trial]
    if state == "failed":
        assert escaped("diverged before update 180") in said(app)
        if show == "Log":
            assert "limbeck.training.TrialFailed: diverged" in said(app)


def test_a_trial_tells_how_it_differs_from_the_base(at_demo: Path, open_page: Open) -> None:
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        trial = reader.trials("mate", states=["complete"])[0]
    app = open_page("trial", sweep="mate", trial=trial.trial, show="Configuration")
    changed = tables(app)[0].set_index("setting")
    assert changed.at["student.layers", "base"] == "3"
    assert changed.at["student.layers", "this trial"] == str(trial.values["student.layers"])
    assert changed.at["method.divergence", "base"] == "default"
    every = app.dataframe[0].value.set_index("setting")
    assert every.at["student.layers", "from"] == "varied"
    assert every.at["teacher.base", "from"] == "plan"
    assert every.at["training.precision", "from"] == "default"


def test_the_tricks_show_both_texts_and_the_alarm(at_demo: Path, open_page: Open) -> None:
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        rows = reader.trials("mate", brief=True)
    collapsed = next(row for row in rows if row.metrics.get("invented/collapsed") == 1.0)
    app = open_page("trial", sweep="mate", trial=collapsed.trial, show="Tricks")
    assert "The generator has collapsed" in said(app)
    pairs = [block.proto.body for block in app.get("html")]
    assert any(">tedious</mark>" in body and ">gorgeous</mark>" in body for body in pairs)
    assert all("<img" not in body for body in pairs)
    assert any(">positive<" in body for body in pairs)
    assert any(">2 %<" in body and ">98 %<" in body for body in pairs)
    calm = next(row for row in rows if row.state == "complete" and row.metrics.get("invented/collapsed") == 0.0)
    assert "collapsed" not in said(open_page("trial", sweep="mate", trial=calm.trial, show="Tricks"))


def test_text_from_data_is_never_markup(at_demo: Path, open_page: Open) -> None:
    for app in (
        open_page(),
        open_page("sweep", sweep=HOSTILE),
        open_page("trial", sweep=HOSTILE, show="Configuration"),
        open_page("trial", sweep=HOSTILE, show="Log"),
        open_page("export", sweep=HOSTILE),
    ):
        for kind in ("title", "header", "subheader", "markdown", "caption", "warning", "error", "info"):
            for element in getattr(app, kind):
                assert HOSTILE not in str(element.value)
                assert not re.search(r"(?<!\\)<img", str(element.value))
                assert not getattr(element, "allow_html", False)


def test_retention_is_that_of_the_best_configuration_with_an_interval(at_demo: Path, open_page: Open) -> None:
    app = open_page("retention", sweeps=["sizes"])
    shown = figure(app)
    assert "kd · 1 layer, 13.7 M" in shown["yAxis"][0]["data"]
    assert [title["text"] for title in shown["title"]] == ["test", "amazon, other domain"]
    import data
    from students import best_students

    students = best_students([data.reader().sweep("sizes")])
    assert [s.parameters for s in students] == sorted(s.parameters for s in students)
    one = next(s for s in students if s.method == "mate" and s.layers == 4)
    kept = one.kept["test"]
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        rows = [r for r in reader.trials("sizes", brief=True) if r.cell == "student.layers=4 method.name=mate"]
        teacher = reader.teacher_predictions("sizes", rows[0].trial, "test")
        labels = reader.labels("sizes", rows[0].trial, "test")
    assert teacher is not None
    level = float((teacher.argmax(1) == labels).mean())
    expected = [row.metrics["test/accuracy"] / level for row in sorted(rows, key=lambda row: row.seed)]
    assert kept.seed_values == pytest.approx(np.array(expected))
    assert kept.interval.mean == pytest.approx(float(np.mean(expected)))
    assert kept.interval.low < kept.interval.mean < kept.interval.high
    assert kept.told == "3 seeds, interval over seeds and test examples"


def test_the_best_of_sweeps_with_other_objectives_is_what_retains_most(at_nothing: Path) -> None:
    import data
    from students import best_students

    objectives = {"kept": ("selection/accuracy", "max"), "low": ("selection/kl", "min")}
    with open_store(f"sqlite:///{at_nothing / 'limbeck.db'}") as store:
        for name, (metric, way) in objectives.items():
            store.add_sweep(NewSweep(name, "base: {method: kd}", "search", "movies", {metric: way}))
            retained = {"good": 0.95, "poor": 0.6} if name == "low" else {"fair": 0.9}
            store.add_trials(name, [NewTrial(cell, i, cell, 0, {}) for i, cell in enumerate(retained)])
            for cell, retention in retained.items():
                found = {"retention": retention, "selection/accuracy": retention, "selection/kl": 1 - retention}
                # What a test set says must not choose.
                store.finish_trial(name, cell, "complete", Outcome(found, 1.5 - retention, 1_000_000))
    (best,) = best_students(data.sweeps())
    assert (best.sweep.name, best.cell, best.chosen_from) == ("low", "good", 3)


def test_ablations_tell_effects_power_and_what_is_missing(at_demo: Path, open_page: Open) -> None:
    app = open_page("ablations", sweep="mate-ablation", split="test")
    shown = numbers(app)
    assert shown["Runs"] == "28 of 30"
    assert shown["Test examples"] == "1,200"
    assert "Runs that failed or were never run" in said(app)
    table = tables(app)[0].set_index("configuration")
    assert table.at["masking rate", "seeds"] == "4 of 5"
    assert re.fullmatch(r"−\d\.\d \*+", table.at["clean distillation", "difference (points)"])
    assert table.at["reference", "adjusted p"] == "–"
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        same = ablation(reader, "mate-ablation", np.random.default_rng(0))
    told = {line.row.cell: p_value(line.row.p_adjusted) for line in same.sections[0].lines}
    assert table["adjusted p"].to_dict() == {cell: p or "–" for cell, p in told.items()}, "as the command line has it"
    names = [button.label for button in app.get("download_button")]
    assert names == ["LaTeX", "Markdown", "CSV", "JSON"]


def test_the_reference_of_an_ablation_is_chosen_and_stands_in_the_address(at_demo: Path, open_page: Open) -> None:
    app = open_page("ablations", sweep="mate-ablation")
    assert app.selectbox(key="choose reference").value == "reference"
    assert address(app, "reference") == [], "what is usual is left out"
    app.selectbox(key="choose reference").set_value("adversary")
    run(app)
    assert address(app, "reference") == ["adversary"]
    table = tables(app)[0].set_index("configuration")
    assert table.at["adversary", "adjusted p"] == "–"
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        same = ablation(reader, "mate-ablation", np.random.default_rng(0), Question(reference="adversary"))
    told = {line.row.cell: p_value(line.row.p_adjusted) or "–" for line in same.sections[0].lines}
    assert table["adjusted p"].to_dict() == told, "as `limbeck ablation --reference adversary` has it"
    linked = open_page("ablations", sweep="mate-ablation", reference="adversary")
    assert tables(linked)[0].equals(tables(app)[0])
    app.selectbox(key="choose sweep").set_value("factors")
    run(app)
    assert address(app, "reference") == [], "the old sweep's reference is not the new one's"
    assert app.warning == []
    lost = open_page("ablations", sweep="mate-ablation", reference="lost")
    assert escaped("lost") in said(lost) and "is not in this sweep" in said(lost)
    assert lost.selectbox(key="choose reference").value == "reference"


def test_a_grid_is_compared_once_its_reference_is_named(at_demo: Path, open_page: Open) -> None:
    app = open_page("ablations", sweep="sizes")
    assert "Choose above what the other configurations are measured against" in said(app)
    assert tables(app) == []
    app.selectbox(key="choose reference").set_value("student.layers=4 method.name=kd")
    run(app)
    assert len(tables(app)[0]) == 12


def test_a_factorial_ablation_has_main_effects_and_interactions(at_demo: Path, open_page: Open) -> None:
    app = open_page("ablations", sweep="factors")
    table = tables(app)[0].set_index("effect of")
    assert list(table.index) == ["adversary", "clean", "gold", "adversary × clean", "adversary × gold", "clean × gold"]
    assert table.at["clean", "effect (points)"].endswith("*")


def test_compare_tells_settings_and_tests_trials_of_two_sweeps(at_demo: Path, open_page: Open) -> None:
    with open_reader(f"sqlite:///{at_demo / 'limbeck.db'}") as reader:
        rows = reader.trials("sizes", brief=True)
    first = next(r for r in rows if r.cell == "student.layers=1 method.name=kd")
    second = next(r for r in rows if r.cell == "student.layers=4 method.name=kd")
    app = open_page("compare", trials=[f"sizes/{first.trial}", f"sizes/{second.trial}"])
    settings = tables(app)[0]
    assert settings["setting"].tolist() == ["student.layers"]
    assert app.multiselect[0].value == [f"sizes/{first.trial}", f"sizes/{second.trial}"]
    table = tables(app)[1].set_index("configuration")
    assert table.at["sizes: student.layers=4 method.name=kd", "difference (points)"].endswith("*")
    app.get("button_group")[-1].set_value("These trials alone")
    run(app)
    assert "p (McNemar)" in tables(app)[2].columns


def test_export_offers_the_command_and_says_where_the_student_is_not(at_demo: Path, open_page: Open) -> None:
    app = open_page("export", sweep="mate")
    trial = app.selectbox[1].value
    assert f"limbeck export mate --trial {trial} --format hf --to mate-{trial}" in said(app)
    assert "The student is not on this machine" in said(app)
    assert app.get("download_button") == []


def test_a_running_sweep_is_seen_to_move(at_nothing: Path, open_page: Open) -> None:
    from .demo import build

    url = build(at_nothing)
    app = open_page("sweep", sweep="mate")
    before = numbers(app)
    with open_store(url) as store, open_reader(url) as reader:
        trial = reader.trials("mate", states=["running"], brief=True)[0]
        end = Outcome({"retention": 0.999}, 0.98, 12_000_000)
        store.finish_trial("mate", trial.trial, "complete", end)
    run(app)
    after = numbers(app)
    assert (before["Running"], after["Running"]) == ("2", "1")
    assert after["Best selection retention"] == "99.9 %"
    first = app.dataframe[0].value.iloc[0]
    assert first["trial"].endswith(trial.trial)

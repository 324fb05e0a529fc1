"""The parts of the pages: numbers and words, filters, marks, parcels, importances and colours."""

import io
import itertools
import json
import math
import tomllib
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy

import data
import filters
import importance
import leaderboard
import markup
import palette
import parcel
import plan_text
import settings
import sign_in
import students
import tricks
import widgets
import words
from charts import curves, forest, search, style
from limbeck.errors import UserError
from limbeck.store import NewSweep, NewTrial, Outcome, SweepRow, TrialRow, open_reader, open_store

from .conftest import DASHBOARDS
from .demo import HOSTILE, Clock, build

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.97345, "retention", "97.3 %"),
        (0.2, "invented/flip_rate", "20.0 %"),
        (7_413_000.0, "parameters", "7.4 M"),
        (80.0, "train_seconds", "1 m 20 s"),
        (0.123456, "loss/student", "0.1235"),
        (math.nan, "retention", "–"),
        (None, "retention", "–"),
    ],
)
def test_numbers_have_sensible_digits_and_units(value: float | None, metric: str, text: str) -> None:
    assert words.number(value, metric) == text


def test_metrics_have_titles_with_their_units() -> None:
    assert words.metric_title("latency_ms/onnx/batch1/p50") == "latency (ms), onnx batch1 p50"
    assert words.metric_title("amazon/kl") == "amazon KL to the teacher (nats)"
    assert words.metric_title("invented/flip_rate") == "invented flip rate"


def test_costs_are_asked_for_at_once_and_again_only_where_something_has_changed(at_nothing: Path) -> None:
    names = [f"s{i}" for i in range(300)]
    clock = Clock(NOW.timestamp())
    with open_store(data.database(), clock=clock) as store:
        with store.together():
            for name in names:
                store.add_sweep(NewSweep(name, "", "search", "movies", {"retention": "max"}))
                store.add_trials(name, [NewTrial("t", 0, "c", 0, {})])
        asked: list[str] = []
        sqlalchemy.event.listen(data.reader()._engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

        def costs() -> tuple[dict[str, data.CostAndRetention], int]:
            sweeps = data.sweeps()
            asked.clear()
            return data.costs_and_retentions(sweeps), sum("sum(" in statement for statement in asked)

        assert costs() == (dict.fromkeys(names, (0.0, None)), 1)
        assert costs()[1] == 0
        clock.now += 60
        store.finish_trial("s7", "t", "complete", Outcome({"retention": 0.5}, 0.9, seconds=10.0))
        found, statements = costs()
    assert (found["s7"], found["s8"], statements) == ((10.0, 0.9), (0.0, None), 1)


def test_only_what_is_reported_on_the_way_has_a_curve() -> None:
    final = ["latency_ms", "latency_ms/batch1/p50", "threads", "parameters", "test/accuracy", "amazon/kl"]
    names = ["loss/student", "selection/kl", "teacher/amazon/accuracy", *final]
    frame = pd.DataFrame([[1.0] * len(names)], columns=[f"metric:{name}" for name in names])
    assert data.curve_metrics(frame) == ["loss/student", "selection/kl"]


def test_times_ago() -> None:
    def ago(**past: float) -> str:
        return words.ago(NOW - timedelta(**past), NOW)

    assert [ago(seconds=5), ago(minutes=3), ago(hours=5), ago(days=4)] == [
        "5 s ago",
        "3 min ago",
        "5 h ago",
        "4 days ago",
    ]
    assert words.ago(NOW + timedelta(seconds=3), NOW) == "0 s ago", "clocks of two machines differ"


def test_p_values_read_as_papers_print_them() -> None:
    assert [words.p_value(p) for p in (0.0003, 0.0312, 1.0, None)] == ["< 0.001", "0.031", "1.000", "–"]


def test_short_paths_still_tell_apart() -> None:
    paths = ["student.layers", "method.generator.learning_rate", "training.learning_rate"]
    assert list(words.short_paths(paths).values()) == ["layers", "generator.learning_rate", "training.learning_rate"]


BOARD = pd.DataFrame(
    {
        "trial": ["a1", "b2", "c3", "d4"],
        "state": ["complete", "complete", "stopped", "failed"],
        "cell": ["x", "x", "y", "y"],
        "layers": [1, 2, 2, 4],
        "rate": [0.1, 0.2, np.nan, 0.4],
        "kind": ["kl", "mse", "kl", "ce"],
        "share": [1.02, 0.95, 0.9, 0.5],
        "minutes": [1.0, 2.0, 3.0, 4.0],
    }
)
NAMES = {"trial": "trial", "state": "state", "layers": "layers", "mask rate": "rate", "kind": "kind"}
NAMES |= {"share": "share", "time (min)": "minutes"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "abcd"),
        ("share > 90", "ab"),
        ("share > 90 %", "ab"),
        ("share > 0.9", "ab"),
        ("share <= 1.2", "abcd"),
        ("TIME < 3", "ab"),
        ("layers = 2", "bc"),
        ("layers >= 2 and state = complete", "b"),
        ("mask_rate < 25%", "ab"),
        ("Mask Rate != 0.1", "bcd"),
        ("kind ~ k; layers=1", "a"),
        ("KIND = KL", "ac"),
        ("stopped", "c"),
        ("b2", "b"),
    ],
)
def test_filters(text: str, kept: str) -> None:
    found = filters.filtered(BOARD, text, NAMES, ["trial", "state", "cell"], ["share"])
    assert "".join(name[0] for name in found["trial"]) == kept


def test_filters_that_cannot_be_read_are_all_named() -> None:
    with pytest.raises(UserError) as error:
        filters.filtered(BOARD, "layer = 1 and kind < 3", NAMES, ["trial"])
    first, second = error.value.problems
    assert "Did you mean 'layers'?" in first.what
    assert "compares numbers" in second.what


def test_marks_are_the_only_markup() -> None:
    row = {"original": ["[CLS]", "<b>", "un", "##like", HOSTILE], "invented": ["[CLS]", "<i>", "un", "##real", HOSTILE]}
    text = tricks.pair({**row, "changed": [1, 3, 99, "x"]})
    tags = set(itertools.chain.from_iterable(part.split(">")[0].split()[:1] for part in text.split("<")[1:]))
    assert tags == {"div", "/div", "small", "/small", "br", "mark", "/mark"}
    assert ">&lt;i&gt;</mark>" in text
    assert "un<mark" in text, "parts of words are joined"
    assert text.count("<mark") == 4
    assert tricks.pair({"original": None, "invented": [1], "changed": None})


def test_marks_leave_alone_what_came_back_unchanged() -> None:
    row = {"original": ["a", "film"], "invented": ["a", "film"], "changed": [1]}
    assert "<mark" not in tricks.pair(row)


def test_probabilities_before_and_after() -> None:
    row = {"teacher_before": [0.9, 0.1], "teacher_after": [0.2, 0.8], "student_before": [1.0], "student_after": [1.0]}
    said = tricks.said(row, ["bad"])
    assert [(line["network"], line["class"], line["after"]) for line in said] == [
        ("teacher", "bad", pytest.approx(20)),
        ("teacher", "class 1", pytest.approx(80)),
    ]
    shown = tricks.table([{"network": "teacher", "class": "<img src=x>", "before": 93.4, "after": 6.6}])
    assert "&lt;img src=x&gt;" in shown and "<img" not in shown
    assert ">93 %<" in shown and ">7 %<" in shown
    assert tricks.flips(row, "teacher")
    assert not tricks.flips(row, "student")


def test_markup_holds_no_markup_from_data() -> None:
    hostile = "<img src=x onerror='a()'>"
    shown = markup.table([hostile, "p"], [[hostile, "0.01"]], f'"{hostile}', [False, True])
    assert "<img" not in shown and shown.count("&lt;img") == 3
    assert 'text-align:right">0.01</td>' in shown


def test_points_drawn_as_one_keep_their_marks() -> None:
    circles = search.as_one({"type": "scatter", "symbol": "circle"})
    assert circles["large"]
    crosses = {"type": "scatter", "symbol": palette.CROSS}
    assert search.as_one(crosses) == crosses, "a path cannot be drawn so"


def test_the_plan_is_read_strictly_and_nonsense_is_nothing() -> None:
    text = "base: {method: kd, task: {hub: glue, config: sst2}, training: {learning_rate: 1e-4}}"
    base = plan_text.base(text)
    assert plan_text.lookup(base, "training.learning_rate") == 1e-4
    assert plan_text.lookup(base, "method.name") == "kd"
    assert plan_text.lookup(base, "method.mask_rate") == plan_text.NOT_SET
    assert (plan_text.named(base, "method"), plan_text.named(base, "task")) == ("kd", "glue")
    assert plan_text.base("[: nonsense") == {}
    assert plan_text.base("- a\n- b") == {}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepRow, TrialRow]:
    with open_reader(build(tmp_path_factory.mktemp("rows"))) as reader:
        return reader.sweep("mate"), reader.trials("mate", states=["complete"])[0]


def test_settings_side_by_side_are_only_those_that_differ() -> None:
    one = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    two = {"a": {"b": 2, "c": [1, 2]}, "d": None, "e": 0.5}
    trials = {name: _trial(spec) for name, spec in (("x", one), ("y", two))}
    shown = settings.side_by_side(trials)
    assert shown.to_numpy().tolist() == [["a.b", "1", "2"], ["e", "–", "0.5"]]


def _trial(spec: dict[str, object], folder: str | None = None, name: str = "t") -> TrialRow:
    empty: dict[str, object] = dict.fromkeys(("parameters", "retention", "error", "traceback", "log", "started"))
    return TrialRow(
        **empty,  # type: ignore[arg-type]
        sweep="s", trial=name, number=0, cell="c", seed=0, state="complete", values={}, spec=spec, updates=1,
        updates_total=1, seconds=1.0, objective={}, metrics={}, folder=folder, created=NOW, updated=NOW, finished=NOW,
    )  # fmt: skip


def student(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    (folder / "vocab.txt").write_text("a\n")
    return folder


def test_a_parcel_holds_the_students_plain_files_and_a_card(tmp_path: Path, rows: tuple[SweepRow, TrialRow]) -> None:
    folder = student(tmp_path / "trial" / "student")
    (folder / "secret.key").write_text("x")
    (tmp_path / "outside.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    found = parcel.find_student(_trial({}, str(folder.parent)), tmp_path)
    assert found is not None
    assert found.size == 104
    card = parcel.card(*rows)
    with zipfile.ZipFile(io.BytesIO(parcel.packed(found, card, "mate-x"))) as archive:
        assert sorted(archive.namelist()) == [
            "mate-x/README.md", "mate-x/config.json", "mate-x/model.safetensors", "mate-x/vocab.txt",
        ]  # fmt: skip
        assert archive.testzip() is None
        assert "| retention on the test split |" in archive.read("mate-x/README.md").decode()


def test_a_student_is_found_in_a_home_that_was_moved_but_never_outside(tmp_path: Path) -> None:
    student(tmp_path / "home" / "s" / "t" / "student")
    student(tmp_path / "elsewhere" / "student")
    home = tmp_path / "home"
    found = parcel.find_student(_trial({}, "/gone"), home)
    assert found is not None and found.folder == home / "s" / "t" / "student"
    assert parcel.find_student(_trial({}, None, "../../elsewhere"), home) is None
    assert parcel.find_student(_trial({}, str(tmp_path)), home / "empty") is None


def test_importances_find_what_decides() -> None:
    draw = np.random.default_rng(0)
    n = 400
    values = pd.DataFrame(
        {
            "decides": draw.uniform(0, 1, n),
            "helps": draw.choice(["kl", "mse", "ce"], n),
            "rate": 10 ** draw.uniform(-7, -3, n),
            "idle": draw.uniform(0, 1, n),
            "same": [3] * n,
        }
    )
    score = pd.Series(-((values["decides"] - 0.7) ** 2) + 0.004 * (values["helps"] == "kl"))
    found = importance.importances(values, score, "max")
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "decides"
    assert "same" not in found
    assert found["decides"] > 4 * found["idle"]
    turned = importance.importances(values, -score, "min")
    assert turned == pytest.approx(found)
    assert importance.importances(values[:5], score[:5], "max") == {}


def test_the_front_is_what_no_other_beats() -> None:
    x = np.array([1.0, 2.0, 3.0, 2.0, 4.0])
    y = np.array([0.5, 0.7, 0.6, 0.8, 0.8])
    assert search.pareto(x, y) == [0, 3]
    assert search.pareto(x, y, "max") == [4]
    assert search.pareto(x, -y, best_y="min") == [0, 3]
    assert search.pareto(x, -y, "max", "min") == [4]


def test_the_front_of_a_loss_is_below_and_shows_true_values() -> None:
    frame = pd.DataFrame(
        {"trial": ["a", "b", "c", "d"], "parameters": [1e6, 2e6, 3e6, 3e6], "objective:kl": [0.5, 0.2, 0.1, 0.4]}
    )
    figure = search.front(frame, "parameters", "objective:kl", ("size", "KL"), "min")
    found = {one["name"]: one["data"] for one in figure.option["series"]}
    assert found["front"] == [(1.0, 0.5, "a"), (2.0, 0.2, "b"), (3.0, 0.1, "c")]
    assert found["other trials"] == [(3.0, 0.4, "d")]


def test_curves_are_few_traces_whatever_the_trials() -> None:
    trials = [f"t{i:03d}" for i in range(200)]
    rows = pd.DataFrame(
        [(t, u, 0.5 + u / 10) for t in trials for u in (1, 2, 3)], columns=["trial", "updates", "value"]
    )
    ends = {t: "stopped" if i % 2 else "complete" for i, t in enumerate(trials)}
    figure = curves.learning(rows, trials[:3], {t: f"<b>{t}</b>" for t in trials[:3]}, "retention", ends)
    series = figure.option["series"]
    assert len(series) == 5
    assert len(series[1]["data"]) == 100, "every stopped trial has its cross"
    assert series[2]["name"] == "<b>t000</b>"
    assert not any("t000" in one["tooltip"]["formatter"] for one in series), "templates are HTML and hold no data"
    json.dumps(figure.option, allow_nan=False)
    assert figure.picked([{"series_index": 2, "data_indices": [1]}]) == "t000"
    gap = series[0]["data"].index((None, None, None))
    assert figure.picked([{"series_index": 0, "data_indices": [gap]}]) is None
    assert figure.picked([{"series_index": 0, "data_indices": [10**6]}]) is None, "what was chosen may be gone"


def test_a_forest_leaves_missing_cells_visible() -> None:
    lines = [
        forest.Line("a", -0.02, -0.03, -0.01, True),
        forest.Line("b", None, None, None, note="no result yet"),
        forest.Line("c", 0.001, float("nan"), float("nan")),
    ]
    option = forest.effects(lines, "difference").option
    assert option["yAxis"]["data"] == ["a", "b", "c"]
    assert option["yAxis"]["inverse"], "the first is on top"
    by_name = {(one.get("name"), one["type"]): one["data"] for one in option["series"]}
    assert by_name["missing", "scatter"] == [(0, 1, None, "no result yet")]
    strong = by_name["adjusted p < 0.05", "scatter"]
    assert strong == [(-2.0, 0, None, "a", "", "−2.00")]
    assert by_name["adjusted p < 0.05", "line"][:2] == [(-3.0, 0), (-1.0, 0)]
    assert by_name["not told from zero", "scatter"][0][0] == pytest.approx(0.1)
    assert by_name["not told from zero", "line"] == [], "an unknown end has no whisker"
    json.dumps(option, allow_nan=False)


def test_a_cell_that_leaves_a_setting_alone_shows_the_plans() -> None:
    base = {"method": {"name": "mate", "mask_rate": 0.3}, "training": {"learning_rate": 6e-4}}
    frame = pd.DataFrame(
        {
            "cell": ["reference", "kd", "no masks", "rare"],
            "value:method": [None, '{"name": "kd"}', None, None],
            "value:method.mask_rate": [np.nan, np.nan, 0.1, np.nan],
            "value:training.learning_rate": [np.nan, 2e-4, np.nan, np.nan],
            "value:training.weight_decay": [np.nan, np.nan, np.nan, 0.1],
        }
    )
    found = leaderboard.filled(frame, base)
    assert found["value:training.learning_rate"].tolist() == [6e-4, 2e-4, 6e-4, 6e-4]
    rates = found["value:method.mask_rate"]
    assert rates.drop(1).tolist() == [0.3, 0.1, 0.3] and np.isnan(rates[1])
    assert found["value:training.weight_decay"].equals(frame["value:training.weight_decay"])
    assert found["value:method"].equals(frame["value:method"])


def test_what_was_set_to_null_is_not_the_plans(at_nothing: Path) -> None:
    with open_store(data.database()) as store:
        store.add_sweep(NewSweep("s", "", "ablation", "movies", {"retention": "max"}))
        values = [{}, {"training.rows": None}, {"training.rows": 200}, {"training.rows": 1500}]
        store.add_trials("s", [NewTrial(f"t{i}", i, f"c{i}", 0, given) for i, given in enumerate(values)])
    frame = data.frame(data.reader().sweep("s"))
    found = leaderboard.filled(frame, {"training": {"rows": 1000}})
    assert found["value:training.rows"].tolist() == [1000, "null", 200, 1500]

    def kept(text: str) -> list[str]:
        return list(filters.filtered(found, text, {"rows": "value:training.rows"}, ["trial"])["trial"])

    assert [kept("rows = 1e3"), kept("rows = null"), kept("rows > 500")] == [["t0"], ["t1"], ["t0", "t3"]]
    assert kept("rows != 1000") == ["t1", "t2", "t3"]
    board = found.sort_values("value:training.rows", key=leaderboard._comparable)
    assert board["value:training.rows"].tolist() == [200, 1000, 1500, "null"], "numbers by size, not as words"
    codes, names = search._coded(frame["value:training.rows"])
    assert (codes, names) == ([3, 2, 0, 1], ["200", "1500", "null", "–"])
    base = leaderboard.filled(frame, {"training": {"rows": None}})
    assert base["value:training.rows"].tolist() == ["null", "null", 200, 1500], "of the plan as of a trial"


def test_layers_that_were_set_to_null_are_not_the_plans(at_nothing: Path) -> None:
    with open_store(data.database()) as store:
        plan = "base: {method: kd, student: {layers: 3}}"
        store.add_sweep(NewSweep("s", plan, "ablation", "movies", {"retention": "max"}))
        for i, values in enumerate([{}, {"student.layers": None}]):
            store.add_trials("s", [NewTrial(f"t{i}", i, f"c{i}", 0, values)])
            store.finish_trial("s", f"t{i}", "complete", Outcome({"retention": 0.9}, 0.9, 1_000_000))
    assert {one.cell: one.layers for one in students.best_students(data.sweeps())} == {"c0": 3, "c1": None}


def test_a_whole_table_that_varies_is_called_by_its_name() -> None:
    assert words.value_text('{"name": "kd", "temperature": 1.0}') == 'kd {"temperature": 1.0}'
    assert words.value_text({"name": "pkd"}) == "pkd"
    assert words.value_text('["amazon"]') == '["amazon"]'
    assert words.value_text("{no table") == "{no table"
    frame = pd.DataFrame(
        {"rank": [1, 2], "cell": ["kd", "pkd"], "value:method": ['{"name": "kd"}', None], "value:rate": [0.1, 0.2]}
    )
    assert leaderboard.usual(frame, {name: name for name in frame}) == ["rank", "cell", "value:rate"]
    assert students._varied(frame, ["value:method"], "mate").tolist() == ["kd", "mate"]


def test_axes_read_well() -> None:
    assert style.of_setting([1e-7, 1e-5]) == (" (1e-6)", style.Unit(1e6, ""))
    assert style.of_setting([1e-4, 1e-3])[0] == " (1e-3)"
    assert style.of_setting([0.1, 3.0])[0] == style.of_setting([])[0] == style.of_setting([0.0])[0] == ""
    assert style.unit("metric:parameters_non_embedding") == style.unit("parameters") == style.MILLIONS
    assert style.unit("objective:retention") == style.PERCENT
    assert style.PERCENT.of([0.12345678, float("nan"), None]) == [12.346, None, None]
    ticks = style.log_axis("size", np.array([2.0, 9.0]))["axisLabel"]["customValues"]
    assert ticks == [2, 3, 4, 5, 6, 8]
    assert style.log_axis("rate", np.array([1e-7, 1.0]))["axisLabel"]["customValues"][0] == pytest.approx(1e-7)


def test_every_kind_of_setting_has_a_panel_and_an_axis() -> None:
    n = 40
    frame = pd.DataFrame(
        {
            "trial": [f"t{i}" for i in range(n)],
            "number": range(n),
            "state": ["complete"] * (n - 5) + ["stopped"] * 5,
            "objective:retention": np.linspace(0.8, 0.99, n),
            "value:rate": np.geomspace(1e-7, 1e-5, n),
            "value:layers": [1 + i % 4 for i in range(n)],
            "value:kind": ["<b>kl</b>", "ce", None, "ce"] * 10,
            "value:frozen": [True, False, False, False] * 10,
        }
    )
    paths = ["rate", "layers", "kind", "frozen"]
    panels = search.slices(frame, paths, "retention")
    assert [axis["name"] for axis in panels.option["xAxis"]] == ["rate (1e-6)", "layers", "kind", "frozen"]
    assert panels.option["xAxis"][2]["data"] == ["<b>kl</b>", "ce"]
    assert panels.picked([{"series_index": 0, "data_indices": [3]}]) == "t3"
    lines = search.parallel(frame[frame["state"] == "complete"], paths, "retention", "max", "dark").option
    axes = ["rate (1e-6)", "layers", "kind", "frozen", "selection retention"]
    assert [axis["name"] for axis in lines["parallelAxis"]] == axes
    assert lines["parallelAxis"][2]["data"] == ["<b>kl</b>", "ce", "–"]
    assert lines["parallelAxis"][3]["data"] == ["false", "true"]
    assert lines["series"][0]["data"][-1][2:4] == (0, 1)
    assert lines["series"][0]["data"][-1][0] == pytest.approx(0.1), "the first row is drawn last, on top"
    assert lines["visualMap"]["inRange"]["color"] == list(palette.SCALES["dark"])
    turned = search.parallel(frame, paths, "retention", "min", "dark").option["visualMap"]
    assert turned["inRange"]["color"] == list(palette.SCALES["dark"])[::-1], "what is best stands out, here the lowest"
    assert (turned["min"], turned["max"]) == (80.0, pytest.approx(98.1, abs=0.1)), "the worst share a colour"
    for figure in (panels.option, lines, search.history(frame, "retention", "max").option):
        json.dumps(figure, allow_nan=False)


def test_names_for_files() -> None:
    assert widgets.file_name("../a b/c:d") == "a-b-c-d"
    assert widgets.file_name("///") == "limbeck"


def test_who_may_read() -> None:
    ada = {"email": "Ada@example.org", "email_verified": True}
    assert sign_in.allowed(ada, [])
    assert sign_in.allowed(ada, ["*@example.org"])
    assert not sign_in.allowed(ada, ["ada@example.com"])
    assert not sign_in.allowed({**ada, "email_verified": False}, ["*@example.org"])
    assert not sign_in.allowed({}, ["*@example.org"])


def _linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    light = sorted(float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


# Machado, Oliveira & Fernandes, IEEE Transactions on Visualization and Computer Graphics 15 (2009), severity 1.
SIGHT = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def _oklab(linear: np.ndarray) -> np.ndarray:
    first = np.array([[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]])
    second = np.array([[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]])
    return np.asarray(second @ np.cbrt(np.clip(first @ linear, 0, None)))


@pytest.mark.parametrize("background", ["#ffffff", "#0e1117"])
def test_colours_stand_out_on_light_and_dark(background: str) -> None:
    assert min(_contrast(colour, background) for colour in (*palette.SERIES, palette.GREY)) >= 3


@pytest.mark.parametrize("theme", palette.SCALES)
def test_what_is_good_stands_out_and_what_is_bad_recedes(theme: str) -> None:
    contrasts = [_contrast(colour, palette.BACKGROUNDS[theme]) for colour in palette.SCALES[theme]]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] > 1.5 and contrasts[-1] > 4.5


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_by_everybody(sight: str) -> None:
    seen = [_oklab(np.clip(np.array(SIGHT[sight]) @ _linear(c), 0, 1)) for c in palette.SERIES]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 0.09


def test_series_differ_by_more_than_colour() -> None:
    looks = [(palette.colour(i), palette.symbol(i), palette.dash(i)) for i in range(20)]
    assert len(set(looks)) == 20
    assert len(set(palette.STATES.values())) == len(palette.STATES)
    assert len({(symbol, filled) for _, symbol, filled in palette.STATES.values()}) == len(palette.STATES)


def test_the_theme_has_the_palette_and_pages_show_only_what_they_are_told_to() -> None:
    config = tomllib.loads((DASHBOARDS / ".streamlit" / "config.toml").read_text())
    assert config["theme"]["chartCategoricalColors"] == list(palette.SERIES)
    assert config["runner"]["magicEnabled"] is False

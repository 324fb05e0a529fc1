"""What is written comes back, on SQLite and on PostgreSQL."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import StatementError

from limbeck.store import NewSweep, NewTrial, Outcome, Reader, Store, StoreError, open_reader, open_store
from limbeck.store import reader as reader_module
from postgres import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new folder/limbeck.db"
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database("limbeck_test")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    with open_store(url, clock=clock) as store:
        yield store


@pytest.fixture
def reader(store: Store, url: str) -> Iterator[Reader]:
    with open_reader(url) as reader:
        yield reader


def a_sweep(name: str = "mate", **objectives: str) -> NewSweep:
    return NewSweep(name, "name: mate\n", "search", "movies", objectives or {"retention": "max"}, 3, {"cores": 2})


def a_trial(trial: str, number: int = 0, seed: int = 0) -> NewTrial:
    values = {"method.mask_rate": 0.3, "student.layers": 3}
    return NewTrial(trial, number, f"cell{number}", seed, values, {"task": {"name": "movies"}, "seed": seed})


def test_a_new_sweep_comes_back_whole(store: Store, reader: Reader) -> None:
    store.add_sweep(NewSweep("mate", "name: mate\n", "search", "movies", {"z": "max", "a": "min"}, 3, {"cores": 2}))
    row = reader.sweep("mate")
    assert (row.plan, row.kind, row.task, row.state) == ("name: mate\n", "search", "movies", "running")
    assert list(row.objectives.items()) == [("z", "max"), ("a", "min")], "the first objective leads: order must last"
    assert row.notes == {"cores": 2}
    assert row.created == datetime.fromtimestamp(1_000, UTC)
    assert (row.trials, row.finished, row.failed, row.best) == (3, 0, 0, None)


def test_the_name_of_a_sweep_is_taken_once(store: Store) -> None:
    store.add_sweep(a_sweep())
    with pytest.raises(StoreError, match="named 'mate' is there already"):
        store.add_sweep(a_sweep())


def test_sweeps_come_newest_first_with_their_counts_and_best(store: Store, reader: Reader, clock: Clock) -> None:
    for name, way in (("up", "max"), ("down", "min")):
        clock.now += 10
        store.add_sweep(a_sweep(name, loss=way))
        store.add_trials(name, [a_trial(f"t{i}", i) for i in range(5)])
        ends = ("complete", "complete", "stopped", "failed")
        for i, (state, loss) in enumerate(zip(ends, (0.4, 0.6, 0.9, 0.1), strict=True)):
            store.finish_trial(name, f"t{i}", state, Outcome({"loss": loss}))
    down, up = reader.sweeps()
    assert (down.name, up.name) == ("down", "up")
    assert (down.best, up.best) == (0.4, 0.6), "stopped and failed trials are no best"
    assert up.counts == {"complete": 2, "stopped": 1, "failed": 1, "waiting": 1}
    assert (up.trials, up.finished, up.failed) == (5, 3, 1)


@pytest.mark.parametrize(("way", "kept"), [("max", 0.7), ("min", 0.9)])
def test_what_a_sweep_cost_and_what_its_best_trial_keeps(store: Store, reader: Reader, way: str, kept: float) -> None:
    store.add_sweep(NewSweep("s", "", "search", "movies", {"loss": way}))
    assert reader.costs_and_retentions(["s"]) == {"s": (0.0, None)}
    ends = [("complete", 0.2, 0.9), ("complete", 0.5, 0.7), ("failed", 0.9, None), ("complete", None, 0.99)]
    store.add_trials("s", [NewTrial(f"t{i}", i, "c", i) for i in range(len(ends))])
    for i, (state, goal, retention) in enumerate(ends):
        metrics = {} if goal is None else {"loss": goal}
        store.finish_trial("s", f"t{i}", state, Outcome(metrics, retention, seconds=10.0))  # type: ignore[arg-type]
    store.add_sweep(a_sweep("other"))
    assert reader.costs_and_retentions(["s", "other"]) == {"s": (40.0, kept), "other": (0.0, None)}


def test_a_trial_from_waiting_to_complete(store: Store, reader: Reader, clock: Clock) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0", seed=2**62)])
    waiting = reader.trial("mate", "t0")
    assert (waiting.state, waiting.seed, waiting.started, waiting.retention) == ("waiting", 2**62, None, None)
    assert waiting.values == {"method.mask_rate": 0.3, "student.layers": 3}
    assert waiting.spec == {"task": {"name": "movies"}, "seed": 2**62}

    clock.now = 2_000
    store.start_trial("mate", "t0", "/runs/mate/t0")
    store.record_progress("mate", "t0", 10, 100, 1.5, {"retention": 0.8, "loss/total": 0.7})
    store.record_progress("mate", "t0", 20, 100, 3.0, {"retention": 0.9})
    running = reader.trial("mate", "t0")
    assert (running.state, running.updates, running.updates_total, running.seconds) == ("running", 20, 100, 3.0)
    assert running.metrics == {"retention": 0.9, "loss/total": 0.7}, "the latest value of every name"
    assert running.objective == {"retention": 0.9}

    clock.now = 3_000
    end = Outcome({"test/accuracy": np.float32(0.5)}, 0.97, 7_400_000, 80.0, log="done")
    store.finish_trial("mate", "t0", "complete", end)
    row = reader.trial("mate", "t0")
    assert (row.state, row.retention, row.parameters, row.seconds) == ("complete", 0.97, 7_400_000, 80.0)
    assert (row.updates, row.folder, row.log, row.error) == (20, "/runs/mate/t0", "done", None)
    assert row.metrics == {"retention": 0.9, "loss/total": 0.7, "test/accuracy": 0.5}
    times = [t.timestamp() for t in (row.created, row.started, row.finished) if t is not None]
    assert times == [1_000, 2_000, 3_000]
    assert reader.sweep("mate").updated.timestamp() == 3_000


def test_a_failed_trial_tells_why_and_a_second_start_forgets_it(store: Store, reader: Reader, clock: Clock) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    store.start_trial("mate", "t0")
    nasty = "a NUL \0, half a pair \ud800 and a stilł"
    store.finish_trial("mate", "t0", "failed", Outcome(error="diverged", traceback=nasty))
    row = reader.trial("mate", "t0")
    assert (row.state, row.error, row.traceback) == ("failed", "diverged", "a NUL , half a pair ? and a stilł")
    clock.now += 50
    store.start_trial("mate", "t0")
    again = reader.trial("mate", "t0")
    assert (again.state, again.error, again.traceback, again.finished) == ("running", None, None, None)
    assert again.started is not None and again.started.timestamp() == 1_000, "the first start counts"


def test_numbers_that_are_not_finite(store: Store, reader: Reader) -> None:
    store.add_sweep(NewSweep("mate", "", "search", "movies", {"retention": "max"}, notes={"x": math.inf}))
    store.add_trials("mate", [NewTrial("t0", 0, "c", 0, {"a": math.nan}, {"b": [np.float64("inf"), np.int64(3)]})])
    store.record_progress("mate", "t0", 1, 2, 0.0, {"retention": math.nan, "loss/total": math.inf})
    store.finish_trial("mate", "t0", "complete", Outcome(retention=math.nan))
    row = reader.trial("mate", "t0")
    assert math.isnan(row.metrics["retention"]) and math.isnan(row.metrics["loss/total"])
    assert math.isnan(row.objective["retention"])
    assert (row.retention, row.values, row.spec) == (None, {"a": None}, {"b": [None, 3]})
    assert reader.metrics("mate")["value"].isna().all()
    assert reader.sweep("mate").notes == {"x": None}
    assert reader.sweep("mate").best is None


def test_metrics_by_trial_and_name_in_order(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial(f"t{i}", i) for i in range(3)])
    for trial in ("t2", "t0", "t1"):
        for updates in (20, 100, 9):
            store.record_progress("mate", trial, updates, 100, 1.0, {"b": updates / 2, "a": 0.0})
    every = reader.metrics("mate")
    assert list(every.columns) == ["trial", "updates", "name", "value"]
    assert len(every) == 18
    assert every["updates"].tolist()[:6] == [9, 20, 100] * 2
    assert every["trial"].tolist() == ["t0"] * 6 + ["t1"] * 6 + ["t2"] * 6
    some = reader.metrics("mate", ["t2", "t0"], "b")
    assert some.to_numpy().tolist()[:2] == [["t0", 9, "b", 4.5], ["t0", 20, "b", 10.0]]
    assert len(some) == 6
    assert reader.metrics("mate", "t1", ["a", "b"])["trial"].unique().tolist() == ["t1"]
    none = reader.metrics("mate", trials=[])
    assert none.empty and none.dtypes.equals(every.dtypes)
    assert reader.metric_names("mate") == ["a", "b"]


def test_more_trials_than_one_question_can_name(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    store.record_progress("mate", "t0", 1, 2, 0.0, {"a": 1.0})
    assert len(reader.metrics("mate", [f"x{i}" for i in range(40_000)] + ["t0", "t0"])) == 1


def test_a_resumed_trial_replaces_what_it_said_before(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    store.record_progress("mate", "t0", 10, 100, 1.0, {"retention": 0.1}, [{"text": "old"}])
    store.record_progress("mate", "t0", 10, 100, 1.0, {"retention": 0.2}, [{"text": "new"}])
    store.add_trials("mate", [a_trial("t0"), a_trial("t1", 1)])
    assert reader.metrics("mate")["value"].tolist() == [0.2]
    assert [(e.updates, e.rows) for e in reader.examples("mate", "t0")] == [(10, [{"text": "new"}])]
    assert [t.updates for t in reader.trials("mate")] == [10, 0], "adding a trial again leaves it alone"


def test_final_metrics_join_the_curves_at_the_last_update(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    store.record_progress("mate", "t0", 10, 10, 1.0, {"retention": 0.1})
    store.finish_trial("mate", "t0", "complete", Outcome({"test/kl": 0.3}))
    assert reader.metrics("mate", names="test/kl").to_numpy().tolist() == [["t0", 10, "test/kl", 0.3]]


def test_a_kept_student_leaves_the_curve_as_it_was_measured(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    said = ((10, 0.8), (20, 0.9), (30, 0.7))
    for updates, value in said:
        store.record_progress("mate", "t0", updates, 30, 1.0, {"retention": value})
    store.finish_trial("mate", "t0", "complete", Outcome({"retention": 0.9, "test/kl": 0.3}))
    row = reader.trial("mate", "t0")
    assert (row.metrics["retention"], row.objective) == (0.9, {"retention": 0.9})
    curve = reader.metrics("mate", names="retention")
    assert tuple(zip(curve["updates"], curve["value"], strict=True)) == said
    # As a resumed trial does whose end had not been heard.
    store.record_progress("mate", "t0", 30, 30, 1.0, {"retention": 0.7})
    store.finish_trial("mate", "t0", "complete", Outcome({"retention": 0.9}))
    assert reader.metrics("mate", names="retention")["value"].tolist() == [0.8, 0.9, 0.7]
    assert reader.trial("mate", "t0").metrics["retention"] == 0.9


def test_states_filter_and_brief_rows(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial(f"t{i}", 2 - i) for i in range(3)])
    store.finish_trial("mate", "t1", "failed", Outcome(error="no", traceback="long"))
    assert [t.trial for t in reader.trials("mate")] == ["t2", "t1", "t0"]
    assert [t.trial for t in reader.trials("mate", ["failed"])] == ["t1"]
    brief = reader.trials("mate", ["failed"], brief=True)[0]
    assert (brief.spec, brief.traceback, brief.error) == ({}, None, "no")


def test_the_frame_is_flat(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    assert "trial" in reader.trial_frame("mate").columns, "an empty sweep has the columns too"
    store.add_trials("mate", [NewTrial("t0", 0, "c0", 7, {"a.b": [1, 2], "c": "kl", "d": None}), a_trial("t1", 1)])
    store.record_progress("mate", "t0", 10, 10, 1.0, {"retention": 0.1})
    frame = reader.trial_frame("mate").set_index("trial")
    assert json.loads(frame.loc["t0", "value:a.b"]) == [1, 2]
    assert frame.loc["t0", ["value:c", "metric:retention", "objective:retention", "seed"]].tolist() == [
        "kl",
        0.1,
        0.1,
        7,
    ]
    assert math.isnan(frame.loc["t1", "metric:retention"])
    assert frame.loc["t1", "value:student.layers"] == 3
    assert frame.loc["t0", "value:d"] == "null"
    assert math.isnan(frame.loc["t1", "value:d"]), "it was not given, which is not the same"


def test_predictions_and_what_they_are_compared_with(store: Store, reader: Reader) -> None:
    logits = np.array([[1.5, -2.0], [1e9, -1e9], [0.25, 0.5]])
    store.add_predictions("mate", "t0", {"test": logits, "amazon": logits[:1]}, task="T", teacher="big")
    store.add_reference("T", "big", {"test": np.array([0, 1, 1])}, {"test": -logits})
    store.add_reference("T", "other", {"test": np.array([9, 9, 9])}, {"test": 2 * logits})
    mine = reader.predictions("mate", "t0", "test")
    assert mine is not None and mine.dtype == np.float16 and mine.shape == (3, 2)
    assert mine[0].tolist() == [1.5, -2.0]
    assert np.isfinite(mine).all(), "half precision saturates"
    labels = reader.labels("mate", "t0", "test")
    assert labels is not None and labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1], "the first to tell the gold labels is believed"
    teacher = reader.teacher_predictions("mate", "t0", "test")
    assert teacher is not None and teacher[2].tolist() == [-0.25, -0.5]
    assert reader.splits("mate", "t0") == ["amazon", "test"]
    assert reader.labels("mate", "t0", "amazon") is None
    assert reader.predictions("mate", "t1", "test") is None


def test_the_predictions_of_those_trials_that_are_asked_for(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("t0", "t1", "t2"):
        store.add_predictions("mate", name, {"test": np.zeros((1, 2)), "amazon": np.ones((1, 2))}, task="T")
    assert [kept.trial for kept in reader.all_predictions("mate", "test")] == ["t0", "t1", "t2"]
    assert list(reader.all_predictions("mate", "test", ())) == []
    fetched: list[int] = []
    unpack = reader_module.unpack
    monkeypatch.setattr(reader_module, "unpack", lambda *array: fetched.append(1) or unpack(*array))
    asked = ["t2", *(f"x{i}" for i in range(2_000)), "t0", "t2"]
    assert [kept.trial for kept in reader.all_predictions("mate", "test", asked)] == ["t0", "t2"]
    assert len(fetched) == 2, "what is not asked for stays where it is"


def test_regression_labels_stay_real(store: Store, reader: Reader) -> None:
    store.add_predictions("s", "t", {"test": np.array([1.0, 2.0])}, task="T", teacher="big")
    store.add_reference("T", "big", {"test": np.array([0.1, 4.9], dtype=np.float32)}, {})
    labels, predictions = reader.labels("s", "t", "test"), reader.predictions("s", "t", "test")
    assert labels is not None and labels.tolist() == pytest.approx([0.1, 4.9])
    assert predictions is not None and predictions.shape == (2,)


def test_a_sweep_goes_on_and_ends(store: Store, reader: Reader, clock: Clock) -> None:
    store.add_sweep(a_sweep())
    clock.now = 1_500
    store.heartbeat("mate")
    assert reader.sweep("mate").updated.timestamp() == 1_500
    store.plan_trials("mate", 9)
    store.add_notes("mate", {"cores": 4, "teacher": "from the cache"})
    store.set_sweep_state("mate", "interrupted")
    row = reader.sweep("mate")
    assert (row.trials_planned, row.state) == (9, "interrupted")
    assert row.notes == {"cores": 4, "teacher": "from the cache"}


def test_what_cannot_be_right_is_refused(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    with pytest.raises(KeyError, match="nobody"):
        store.record_progress("mate", "nobody", 1, 2, 0.0, {"a": 1.0})
    with pytest.raises(KeyError, match="elsewhere"):
        store.add_trials("elsewhere", [a_trial("t0")])
    with pytest.raises(ValueError, match="got 'running'"):
        store.finish_trial("mate", "t0", "running")
    with pytest.raises(ValueError, match="'done' is none of"):
        store.set_sweep_state("mate", "done")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got \\(1, 1, 1\\)"):
        store.add_predictions("mate", "t0", {"test": np.zeros((1, 1, 1))})
    with pytest.raises(StoreError, match="Did you mean 'mate'"):
        reader.sweep("matte")
    with pytest.raises(StoreError, match="has no trial 't9'"):
        reader.trial("mate", "t9")
    assert reader.metrics("mate").empty and reader.trials("elsewhere") == []


def test_a_call_that_fails_leaves_nothing(store: Store, reader: Reader) -> None:
    store.add_sweep(a_sweep())
    store.add_trials("mate", [a_trial("t0")])
    with pytest.raises((StatementError, TypeError), match="not JSON serializable"):
        store.record_progress("mate", "t0", 5, 9, 0.0, {"a": 1.0}, [{"not JSON": object()}])
    assert reader.metrics("mate").empty
    assert reader.trial("mate", "t0").updates == 0


def test_who_asks_before_there_is_anything_keeps_no_connection(postgresql: Server) -> None:
    url = postgresql.new_database("limbeck_empty")
    for _ in range(3):
        with pytest.raises(StoreError):
            open_reader(url)
    assert postgresql.connections("limbeck_empty") == 0

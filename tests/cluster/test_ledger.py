import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limbeck.cluster.configurations import Configuration, Kept, Known
from limbeck.cluster.early import Halving
from limbeck.cluster.ledger import Job, Ledger
from limbeck.cluster.messages import End, Report, stop_requested
from limbeck.cluster.study import Verdict
from limbeck.plan import Plan
from limbeck.storage import Storage
from limbeck.store import NewSweep, Reader, Store, open_reader, open_store

MakePlan = Callable[..., Plan]
GRID = """
vary:
  student.layers: {choice: [1, 2]}
search: {sampler: grid}
seeds: [5, 6]
"""


class Listed:
    """Configurations that remember what they were told."""

    def __init__(self, *configurations: Configuration) -> None:
        self.waiting = list(configurations)
        self.verdicts: dict[str, Verdict] = {}
        self.admitted: list[tuple[str, int]] = []

    def restore(self, kept: Mapping[str, Kept]) -> None:
        self.waiting = [c for c in self.waiting if c.name not in kept]

    def left(self) -> bool:
        return bool(self.waiting)

    def next(self) -> Configuration | None:
        return self.waiting.pop(0) if self.waiting else None

    def admit(self, name: str, trials: Sequence[str]) -> None:
        self.admitted.append((name, len(trials)))

    def ended(self, name: str, verdict: Verdict) -> None:
        self.verdicts[name] = verdict


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'limbeck.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as store:
        yield store


@pytest.fixture
def reader(store: Store, url: str) -> Reader:
    return open_reader(url)


def begin(store: Store, plan: Plan) -> None:
    store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives))


def searched(make_plan: MakePlan, *overrides: str) -> Plan:
    more = "vary: {method.mask_rate: {uniform: [0.1, 0.5]}}\nsearch: {trials: 2}\nseeds: [0, 1]\n"
    return make_plan(more, *overrides)


def some(count: int = 2) -> Listed:
    return Listed(*(Configuration(f"{i:04d}", {"method.mask_rate": 0.1 + i / 10}) for i in range(count)))


def jobs(ledger: Ledger) -> list[Job]:
    return list(iter(ledger.next, None))


def report(value: float, updates: int = 2) -> Report:
    return Report(updates, 8, updates / 8, 0.1, {"retention": value, "loss/total": 1.0})


def complete(value: float) -> End:
    return End("complete", {"retention": value, "test/retention": value - 0.1}, parameters=10, seconds=1.5)


def test_known_trials_are_all_written_down_first_seed_first(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = make_plan(GRID)
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path))
    ledger.enter_known()
    rows = reader.trials("toy")
    assert [(row.number, row.seed, row.values["student.layers"], row.state) for row in rows] == [
        (0, 5, 1, "waiting"),
        (1, 5, 2, "waiting"),
        (2, 6, 1, "waiting"),
        (3, 6, 2, "waiting"),
    ]
    assert (
        [job.trial for job in jobs(ledger)]
        == [row.trial for row in rows]
        == [plan.spec(r.values, r.seed).id for r in rows]
    )
    assert not ledger.left()


def test_every_cell_of_a_grid_is_entered_however_long_its_values(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    folder = "/models" * 9
    plan = make_plan(
        GRID.replace("student.layers: {choice: [1, 2]}", f"student.checkpoint: {{choice: [{folder}/a, {folder}/b]}}")
    )
    begin(store, plan)
    Ledger(plan, store, Known(plan), Storage(tmp_path)).enter_known()
    assert len({row.cell for row in reader.trials("toy")}) == 2
    assert len(reader.trials("toy")) == plan.trials == 4


def test_a_job_leaves_its_plan_in_its_folder(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    plan = make_plan(GRID)
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path))
    ledger.enter_known()
    job = ledger.next()
    assert job and job.folder == tmp_path / job.trial
    facts = json.loads((job.folder / "trial.json").read_text())
    assert facts["spec"] == plan.spec({"student.layers": 1}, 5).model_dump(mode="json")
    assert (facts["sweep"], facts["seed"], facts["values"]) == ("toy", 5, {"student.layers": 1})


def test_a_search_hears_the_mean_when_the_last_seed_has_ended(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan, listed = searched(make_plan), some()
    begin(store, plan)
    ledger = Ledger(plan, store, listed, Storage(tmp_path))
    one, two, three, four = jobs(ledger)
    assert listed.admitted == [("0000", 2), ("0001", 2)]
    for job in (one, two, three, four):
        ledger.started(job.trial)
    ledger.reported(one.trial, report(0.5))
    ledger.ended(one.trial, complete(0.8))
    assert listed.verdicts == {}
    ledger.ended(two.trial, complete(0.9))
    assert listed.verdicts == {"0000": Verdict("complete", (pytest.approx(0.85),), 2)}
    ledger.ended(three.trial, complete(0.9))
    ledger.ended(four.trial, End("failed", error="diverged", traceback="line"))
    assert listed.verdicts["0001"] == Verdict("failed")

    rows = {row.trial: row for row in reader.trials("toy")}
    assert (rows[one.trial].state, rows[one.trial].retention, rows[one.trial].parameters) == ("complete", 0.8 - 0.1, 10)
    assert rows[one.trial].objective == {"retention": 0.8}
    assert (rows[four.trial].state, rows[four.trial].error) == ("failed", "diverged")
    standing = ledger.standing()
    assert (standing.complete, standing.failed, standing.running, standing.planned) == (3, 1, 0, 4)
    assert (standing.best, standing.spent) == (0.9, 4.0)


@pytest.mark.parametrize("end", [End("complete", {"retention": math.nan}), End("complete", {"loss/total": 1.0})])
def test_an_objective_that_is_no_number_is_a_failure_for_the_search(
    make_plan: MakePlan, store: Store, tmp_path: Path, end: End
) -> None:
    plan, listed = searched(make_plan, "seeds=[0]"), some(1)
    begin(store, plan)
    ledger = Ledger(plan, store, listed, Storage(tmp_path))
    (job,) = jobs(ledger)
    ledger.started(job.trial)
    ledger.ended(job.trial, end)
    assert listed.verdicts == {"0000": Verdict("failed")}
    assert ledger.standing().best is None


def test_a_poor_trial_is_asked_to_stop_and_the_search_hears_how_far_it_came(
    make_plan: MakePlan, store: Store, tmp_path: Path
) -> None:
    plan, listed = searched(make_plan, "seeds=[0]", "search.early_stop=asha", "search.reduction=2"), some()
    begin(store, plan)
    ledger = Ledger(plan, store, listed, Storage(tmp_path), Halving(plan.search, "max"))
    good, poor = jobs(ledger)
    for job, value in ((good, 0.9), (poor, 0.3)):
        ledger.started(job.trial)
        ledger.reported(job.trial, report(value))
    assert not stop_requested(good.folder) and stop_requested(poor.folder)
    ledger.ended(poor.trial, End("stopped"))
    assert listed.verdicts == {"0001": Verdict("stopped", (0.3,), 2)}
    assert ledger.standing().spent == pytest.approx(1.25)


def test_predictions_are_kept_and_the_reference_once(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = make_plan("seeds: [0, 1]\n")
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path))
    ledger.enter_known()
    for job in jobs(ledger):
        ledger.started(job.trial)
        (job.folder / "predictions").mkdir()
        logits = np.full((3, 2), job.seed, np.float16)
        np.save(job.folder / "predictions" / "amazon.npy", logits)
        np.save(job.folder / "predictions" / "teacher-amazon.npy", logits - 1)
        np.save(job.folder / "predictions" / "gold-amazon.npy", np.array([0, 1, job.seed]))
        ledger.ended(
            job.trial, End("complete", {"retention": 0.9}, task="films", teacher="big", classes=("bad", "good"))
        )
        assert reader.splits("toy", job.trial) == ["amazon"]
        kept = reader.predictions("toy", job.trial, "amazon")
        assert kept is not None and kept.tolist() == logits.tolist()
        # The second trial's reference is the first one's: same task, same teacher.
        teacher, gold = (
            reader.teacher_predictions("toy", job.trial, "amazon"),
            reader.labels("toy", job.trial, "amazon"),
        )
        assert teacher is not None and teacher.tolist() == np.full((3, 2), -1).tolist()
        assert gold is not None and gold.tolist() == [0, 1, 0]
        assert reader.classes("toy", job.trial) == ("bad", "good")


def test_what_ran_is_handed_out_first_after_a_crash(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = searched(make_plan)
    begin(store, plan)
    before = Ledger(plan, store, some(), Storage(tmp_path))
    one, two, three, four = jobs(before)
    for job in (one, four):
        before.started(job.trial)
    before.reported(four.trial, report(0.4, updates=6))
    before.ended(one.trial, complete(0.8))

    listed = some()
    ledger = Ledger(plan, store, listed, Storage(tmp_path))
    kept = ledger.take_up(reader.trials("toy"))
    assert kept == {"0000": ({"method.mask_rate": 0.1}, None), "0001": ({"method.mask_rate": 0.2}, None)}
    listed.restore(kept)
    assert ledger.standing().spent == pytest.approx(1.75)
    assert [job.trial for job in jobs(ledger)] == [four.trial, two.trial, three.trial]
    ledger.started(two.trial)
    ledger.ended(two.trial, complete(0.6))
    assert listed.verdicts["0000"].values == (pytest.approx(0.7),), "the first seed's value comes from the results"


def test_known_trials_that_a_crash_kept_from_the_results_are_added(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = make_plan(GRID)
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path))
    assert ledger.take_up(reader.trials("toy")) == {}
    ledger.enter_known()
    assert len(reader.trials("toy")) == len(jobs(ledger)) == 4
    again = Ledger(plan, store, Known(plan), Storage(tmp_path))
    again.take_up(reader.trials("toy"))
    again.enter_known()
    assert len(reader.trials("toy")) == len(jobs(again)) == 4


def test_equal_trials_of_two_cells_keep_folders_of_their_own(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = searched(make_plan, "seeds=[0]")
    begin(store, plan)
    same = Listed(Configuration("0000", {"method.mask_rate": 0.3}), Configuration("0001", {}))
    ledger = Ledger(plan, store, same, Storage(tmp_path))
    one, two = jobs(ledger)
    assert two.trial == f"{one.trial}-2"
    assert [row.folder for row in reader.trials("toy")] == [str(tmp_path / name) for name in (one.trial, two.trial)]


def test_the_user_hears_of_failures_and_warnings(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    plan = make_plan("")
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path), say=said.append)
    ledger.enter_known()
    (job,) = jobs(ledger)
    ledger.started(job.trial)
    ledger.ended(job.trial, End("failed", error="diverged", log="a checkpoint is damaged\na checkpoint is damaged"))
    assert said == [f"trial {job.trial}: a checkpoint is damaged", f"trial {job.trial} failed: diverged"]


def test_resuming_tries_the_failed_trials_of_a_grid_again_and_a_searchs_not(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = make_plan(GRID)
    begin(store, plan)
    first = Ledger(plan, store, Known(plan), Storage(tmp_path))
    first.enter_known()
    for number, job in enumerate(jobs(first)):
        first.started(job.trial)
        first.ended(job.trial, End("failed", error="no memory") if number == 1 else complete(0.9))
    again = Ledger(plan, store, Known(plan), Storage(tmp_path))
    again.take_up(reader.trials("toy"))
    again.enter_known()
    (job,) = jobs(again)
    assert (job.seed, job.values["student.layers"]) == (5, 2)
    again.started(job.trial)
    again.ended(job.trial, complete(0.7))
    assert [row.state for row in reader.trials("toy")] == ["complete"] * 4

    rows = [replace(row, state="failed") for row in reader.trials("toy")]
    search = Ledger(searched(make_plan), store, some(0), Storage(tmp_path / "other"))
    search.take_up(rows)
    assert jobs(search) == []


def test_what_a_trial_says_after_its_end_is_dropped(
    make_plan: MakePlan, store: Store, reader: Reader, tmp_path: Path
) -> None:
    plan = make_plan(GRID)
    begin(store, plan)
    ledger = Ledger(plan, store, Known(plan), Storage(tmp_path))
    ledger.enter_known()
    job = jobs(ledger)[0]
    ledger.started(job.trial)
    ledger.reported(job.trial, report(0.5))
    ledger.ended(job.trial, complete(0.9))
    ledger.reported(job.trial, report(0.1, updates=4))
    row = reader.trial("toy", job.trial)
    assert (row.state, row.updates, row.metrics["retention"]) == ("complete", 2, 0.9)

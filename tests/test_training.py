"""A trial from its first step to its last, broken off and resumed, gone wrong and put right."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import worlds
from limbeck import checkpoint
from limbeck.cluster.engine import student_sizes
from limbeck.encoding import Order
from limbeck.errors import UserError
from limbeck.latency import RECENT_SECONDS, recent_latency_ms
from limbeck.metrics import evaluate
from limbeck.noise import derived_seed
from limbeck.predictor import Predictor
from limbeck.sections import LATENCIES
from limbeck.supplies import Supplies
from limbeck.training import train
from limbeck.trial import TrialSpec
from limbeck.worker import Progress, Result, TrialFailed, Worker
from methods.test_workers import Meeting

MATE = {
    "name": "mate",
    "generator_steps": 2,
    "student_steps": 5,
    "generator": {**worlds.SMALL_GENERATOR, "learning_rate": 1e-4},
}

CODIR = {
    "name": "codir",
    "negatives": 5,
    "pretraining": {
        "updates": 4,
        "max_tokens": 32,
        "teacher": {"layers": 2, "fit_updates": 5, "fit_max_tokens": 32},
    },
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Supplies]:
    folder = tmp_path_factory.mktemp("world")
    return worlds.base_trial(folder), worlds.supplies(folder)


class Diary:
    """Keeps what a trial reports, and breaks it off where told to."""

    def __init__(self, break_at: int | None = None) -> None:
        self.entries: list[Progress] = []
        self._break_at = break_at

    def __call__(self, progress: Progress) -> None:
        self.entries.append(progress)
        if progress.updates == self._break_at:
            raise KeyboardInterrupt


def run(spec: TrialSpec, supplies: Supplies, folder: Path, diary: Diary | None = None) -> Result:
    ticks = iter(range(10**9))
    result = train(spec, Worker(folder, report=diary or Diary(), clock=lambda: float(next(ticks))), supplies)
    assert result is not None
    return result


def weights(result: Result) -> dict[str, torch.Tensor]:
    return load_file(result.student / "model.safetensors")


def test_a_trial_leaves_a_student_that_loads_and_says_what_was_recorded(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    diary = Diary()
    result = run(worlds.spec(base), supplies, tmp_path, diary)
    assert [entry.updates for entry in diary.entries] == [10, 20, 30]
    assert result.metrics["test/accuracy"] > 0.8
    assert 0.5 < result.metrics["retention"] <= 1.3
    model = AutoModelForSequenceClassification.from_pretrained(result.student).eval()
    tokenizer = AutoTokenizer.from_pretrained(result.student)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert tokenizer.model_max_length == worlds.spec(base).training.max_tokens
    assert Predictor(result.student).columns == 1
    files = sum(path.stat().st_size for path in Path(result.student).iterdir())
    assert result.metrics["disk_bytes"] == files > 4 * result.metrics["parameters"]
    task = supplies.task(worlds.spec(base).task)
    with torch.no_grad():
        logits = model(**tokenizer(task.test.columns[0], padding=True, return_tensors="pt")).logits.numpy()
    stored = np.load(result.predictions / "test.npy")
    np.testing.assert_allclose(logits, stored.astype(np.float32), atol=5e-3)
    assert evaluate("accuracy", logits, task.test.labels) == pytest.approx(result.metrics["test/accuracy"], abs=0.011)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_latency_is_measured(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    result = train(worlds.spec(base), Worker(tmp_path, graph=True), supplies)
    assert result is not None
    metrics = result.metrics
    for kind in ("latency_ms", "latency_ms/onnx"):
        assert 0 < metrics[f"{kind}/batch1/p50"] <= metrics[f"{kind}/batch1/p95"]
        assert 0 < metrics[f"{kind}/batch32/p50"] <= metrics[f"{kind}/batch32/p95"]
    assert metrics["latency_ms"] == metrics["latency_ms/batch1/p50"] < metrics["latency_ms/batch32/p50"]
    assert metrics["threads"] == torch.get_num_threads()
    assert metrics.keys() >= set(LATENCIES)


def test_students_of_one_build_share_a_recent_measurement(world: tuple[dict[str, Any], Supplies]) -> None:
    base, supplies = world
    now = 1e6

    def clock() -> float:
        nonlocal now
        now += 0.01
        return now

    def measured(spec: TrialSpec, seed: int) -> dict[str, float]:
        prepared = supplies.prepared(spec)
        student = supplies.new_student(spec, prepared, seed)
        return recent_latency_ms(student, prepared.splits["test"], prepared.vocabulary, supplies.device, clock=clock)

    two, three = (worlds.spec(base, student={"layers": layers}) for layers in (2, 3))
    first, other = measured(two, 0), measured(three, 0)
    assert first["latency_ms/age_seconds"] == other["latency_ms/age_seconds"] == 0
    assert first["latency_ms"] == pytest.approx(10, abs=1e-3), "what the clock says of one call"
    now += 30
    again = measured(two, 1)
    assert again.pop("latency_ms/age_seconds") > 30
    assert again.items() < first.items()
    now += RECENT_SECONDS
    assert measured(two, 1)["latency_ms/age_seconds"] == 0


def test_what_limits_bound_is_known_before_a_student_trains(world: tuple[dict[str, Any], Supplies]) -> None:
    base, supplies = world
    spec = worlds.spec(base)
    assert student_sizes(spec, supplies, ["parameters"]).keys() == {"parameters", "parameters_non_embedding"}
    for name in ("latency_ms/batch32/p95", "latency_ms/onnx/batch1/p50"):
        found = student_sizes(spec, supplies, [name, "parameters"])
        assert found[name] > 0
        assert found["parameters"] > found["parameters_non_embedding"] > 0


def test_the_test_set_is_not_read_before_the_end(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    diary = Diary()
    run(worlds.spec(base), supplies, tmp_path, diary)
    assert not [name for entry in diary.entries for name in entry.metrics if name.startswith("test")]


@pytest.mark.parametrize("method", [{"name": "kd"}, MATE, CODIR], ids=["kd", "mate", "codir"])
def test_broken_off_and_resumed_equals_uninterrupted(
    method: dict[str, Any], world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    spec = worlds.spec(base, method)
    whole_diary, torn_diary = Diary(), Diary(break_at=20)
    whole = run(spec, supplies, tmp_path / "whole", whole_diary)
    with pytest.raises(KeyboardInterrupt):
        run(spec, supplies, tmp_path / "torn", torn_diary)
    second_diary = Diary()
    resumed = run(spec, supplies, tmp_path / "torn", second_diary)
    assert [entry.updates for entry in second_diary.entries] == [10, 20, 30], "who was told of 10 may have died, too"
    whole_metrics, resumed_metrics = (
        {k: v for k, v in r.metrics.items() if "seconds" not in k and "latency" not in k} for r in (whole, resumed)
    )
    assert resumed_metrics == whole_metrics
    expected, got = weights(whole), weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert [entry.metrics for entry in second_diary.entries] == [entry.metrics for entry in whole_diary.entries]


def test_the_best_student_is_kept_over_a_break_whether_it_is_the_newest_or_older(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    # At such a rate the student forgets again what it had learned.
    spec = worlds.spec(base, training={"learning_rate": 0.05, "warmup": 0.0})
    whole = run(spec, supplies, tmp_path / "whole")
    expected, older = weights(whole), set()
    for at in (10, 30):
        folder = tmp_path / f"torn-{at}"
        with pytest.raises(KeyboardInterrupt):
            run(spec, supplies, folder, Diary(break_at=at))
        found = checkpoint.newest(folder / "checkpoints")
        assert found is not None
        tensors, facts = found
        older.add(facts["state"]["best_update"] < at)
        assert any(name.startswith("best/") for name in tensors) == (facts["state"]["best_update"] < at), "stored once"
        got = weights(run(spec, supplies, folder))
        assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert older == {False, True}, "both kinds were seen"


def test_the_same_seed_gives_the_same_student_and_another_seed_another(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    first, second, other = (
        weights(run(worlds.spec(base, seed=seed), supplies, tmp_path / name))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_torn_checkpoint_gives_way_to_the_one_before(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, supplies = world
    spec = worlds.spec(base)
    with pytest.raises(KeyboardInterrupt):
        run(spec, supplies, tmp_path / "torn", Diary(break_at=20))
    newest = sorted((tmp_path / "torn/checkpoints").glob("step-*"))[-1]
    with (newest / "tensors.safetensors").open("r+b") as file:
        file.truncate(1000)
    diary = Diary()
    resumed = run(spec, supplies, tmp_path / "torn", diary)
    assert [entry.updates for entry in diary.entries] == [10, 20, 30]
    assert "damaged" in caplog.text
    assert resumed.metrics["test/accuracy"] == run(spec, supplies, tmp_path / "whole").metrics["test/accuracy"]


def test_a_finished_trial_is_not_run_again(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    first = run(worlds.spec(base), supplies, tmp_path)
    diary = Diary()
    assert run(worlds.spec(base), supplies, tmp_path, diary) == first
    assert diary.entries == list(first.evaluated), "a driver that was killed may not have heard them"
    assert [entry.updates for entry in diary.entries] == [10, 20, 30]


def test_told_to_stop_it_stops_after_an_evaluation(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    diary = Diary()
    worker = Worker(tmp_path, report=diary, should_stop=lambda: True)
    assert train(worlds.spec(base), worker, supplies) is None
    assert [entry.updates for entry in diary.entries] == [10]


def test_divergence_fails_with_a_reason(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    spec = worlds.spec(base, training={"learning_rate": 1e38})
    with pytest.raises(TrialFailed, match="diverged before update 10"):
        run(spec, supplies, tmp_path)


def test_training_rows_are_drawn_by_the_seed_and_bound_the_epochs(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    training = {**base["training"], "rows": 64, "epochs": 2}
    del training["updates"]
    spec = TrialSpec.model_validate({**base, "training": training})
    diary = Diary()
    run(spec, supplies, tmp_path, diary)
    assert diary.entries[-1].updates == 8
    assert diary.entries[-1].metrics["epoch"] == 2


@pytest.fixture(scope="module")
def world_with_text(world: tuple[dict[str, Any], Supplies], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same trial on the same rows, with a file of unlabelled texts."""
    rng, path = random.Random(1), tmp_path_factory.mktemp("text") / "more.csv"
    path.write_text("text\n" + "".join(f"{worlds.sentence(rng)[0]}\n" for _ in range(300)))
    base = world[0]
    return {**base, "task": {"files": {**base["task"]["files"], "unlabelled": str(path)}}}


def test_unlabelled_texts_make_up_for_missing_rows(
    world: tuple[dict[str, Any], Supplies], world_with_text: dict[str, Any], tmp_path: Path
) -> None:
    supplies, training = world[1], {"rows": 8, "updates": 120, "evaluations": 1}
    few = run(worlds.spec(world_with_text, training=training), supplies, tmp_path / "few")
    helped = worlds.spec(world_with_text, training={**training, "unlabelled": 300})
    diary = Diary()
    many = run(helped, supplies, tmp_path / "many", diary)
    assert diary.entries[-1].metrics["epoch"] == pytest.approx(120 * 16 / 308)
    # Eight sentences know few of the words; the teacher knows what the others are worth.
    assert many.metrics["selection/kl"] < 0.5 * few.metrics["selection/kl"]


def test_unlabelled_texts_have_no_gold_term(
    world: tuple[dict[str, Any], Supplies], world_with_text: dict[str, Any], tmp_path: Path
) -> None:
    """With gold labels alone in the loss, 8 labelled rows of 308 make most batches nearly free of loss."""
    method = {"name": "kd", "weight": 0.0}
    training = {"rows": 8, "updates": 2, "evaluations": 1, "learning_rate": 1e-9}
    diary = Diary()
    spec = worlds.spec(world_with_text, method, training={**training, "unlabelled": 300, "batch_size": 154})
    run(spec, world[1], tmp_path, diary)
    # Two batches of 154 are one epoch: 8 terms of about log 2 or more in 308 rows.
    assert 0 < diary.entries[-1].metrics["loss/cross_entropy"] < 8 / 308 * 3


@pytest.mark.parametrize("method", [CODIR, {"name": "l2a", "source_share": 0, "generator": worlds.SMALL_GENERATOR}])
def test_methods_that_read_labels_themselves_take_unlabelled_texts(
    world: tuple[dict[str, Any], Supplies], world_with_text: dict[str, Any], method: dict[str, Any], tmp_path: Path
) -> None:
    training = {"rows": 32, "updates": 4, "evaluations": 1, "unlabelled": 100}
    run(worlds.spec(world_with_text, method, training=training), world[1], tmp_path)


class StepClock:
    """Moves by what each step is to take: the loop looks before and after one."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self._seconds, self._looks, self._now = seconds, 0, 0.0

    def __call__(self) -> float:
        step, after = divmod(self._looks, 2)
        self._looks += 1
        self._now += after * self._seconds(step)
        return self._now


def test_a_time_budget_ends_the_trial(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    # The clock of these tests moves by one a look, so a step takes one second.
    result = run(worlds.spec(base, training={"seconds": 7.0}), supplies, tmp_path)
    assert result.metrics["updates"] == 7


def test_seconds_that_the_adversary_alone_uses_up_end_with_a_student_that_learned_nothing(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    diary = Diary()
    result = run(worlds.spec(base, MATE, training={"seconds": 1.0}), supplies, tmp_path, diary)
    assert [entry.updates for entry in diary.entries] == [0]
    assert result.metrics["updates"] == 0 < result.metrics["updates/generator"]
    assert result.metrics["retention"] == diary.entries[0].metrics["retention"]


@pytest.mark.parametrize("shift, more", [(0.4, False), (0.6, True)])
def test_a_trial_ends_where_it_is_nearest_to_its_seconds(
    shift: float, more: bool, world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    """Steps take as long as their batches have tokens; the budget ends within a step, before or after its middle."""
    base, supplies = world
    spec = worlds.spec(base)
    data = supplies.prepared(spec).splits["train"]
    order = Order(data.lengths, spec.training.batch_size, derived_seed(spec.seed, "order"))
    tokens = [len(rows) * float(data.lengths[rows].max()) for rows in map(order.batch, range(6))]
    assert len(set(tokens)) > 1
    spec = worlds.spec(base, training={"seconds": sum(tokens[:4]) + shift * tokens[4]})
    result = train(spec, Worker(tmp_path, clock=StepClock(tokens.__getitem__)), supplies)
    assert result is not None
    assert result.metrics["updates"] == 4 + more
    assert result.seconds == sum(tokens[: 4 + more])


def test_workers_of_different_speed_spend_a_time_budget_alike(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    spec = worlds.spec(base, training={"seconds": 6.0})
    meeting, diaries = Meeting(2), (Diary(), Diary())

    def work(rank: int) -> None:
        clock = StepClock(lambda _: 1.0 + rank)
        train(
            spec,
            Worker(tmp_path, rank, 2, meeting.average(rank), meeting.gather(rank), diaries[rank], clock=clock),
            supplies,
        )

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(meeting.run, work, rank) for rank in (0, 1)]:
            done.result()
    one, two = ([(p.updates, p.seconds, p.metrics["learning_rate_share"]) for p in d.entries] for d in diaries)
    assert one == two
    assert one[-1][:2] == (4, 6.0)


def test_generated_text_is_diagnosed_and_shown(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, supplies = world
    diary = Diary()
    run(worlds.spec(base, MATE), supplies, tmp_path, diary)
    last = diary.entries[-1]
    for name in ("replaced_share", "same_share", "flip_rate", "divergence_before", "divergence_after", "perplexity"):
        assert np.isfinite(last.metrics[f"invented/{name}"])
    assert len(last.examples) == 20
    pair = last.examples[0]
    assert pair["original"][0] == "[CLS]"
    differing = [i for i, (a, b) in enumerate(zip(pair["original"], pair["invented"], strict=True)) if a != b]
    assert set(differing) <= set(pair["changed"])
    assert sum(pair["teacher_after"]) == pytest.approx(1, abs=1e-3)
    json.dumps(last.examples)


def test_a_stage_before_the_students_updates_is_none_of_them(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    spec, diary = worlds.spec(base, CODIR), Diary()
    supplies.prepare(spec)
    fitted = supplies.cache.misses["generators"]
    metrics = run(spec, supplies, tmp_path, diary).metrics
    assert supplies.cache.misses["generators"] == fitted
    assert (metrics["updates"], metrics["updates/pretraining"]) == (30, 4)
    stages = [{name for name in entry.metrics if name.startswith("loss/pretraining")} for entry in diary.entries]
    assert [len(stage) for stage in stages] == [5, 0, 0]


def test_what_is_shared_is_made_once(world: tuple[dict[str, Any], Supplies], tmp_path: Path) -> None:
    base, _ = world
    said: list[str] = []
    folder = tmp_path / "cache"
    first = worlds.supplies(folder)
    first.prepare(worlds.spec(base, MATE))
    again = Supplies(first.cache.__class__(first.cache.root), say=said.append)
    again.prepare(worlds.spec(base, MATE, seed=3))
    assert again.cache.misses == {}
    assert any("teacher" in line and "from the cache" in line for line in said)
    assert any("generator" in line and "from the cache" in line for line in said)


def test_a_damaged_cache_is_built_again(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, _ = world
    first = worlds.supplies(tmp_path)
    before = first.prepared(worlds.spec(base)).teacher_metric("selection")
    path = next((tmp_path / "cache/teachers").glob("*/model.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    again = worlds.supplies(tmp_path)
    assert again.prepared(worlds.spec(base)).teacher_metric("selection") == before
    assert "damaged" in caplog.text


def test_a_teacher_at_chance_is_refused_with_the_likely_cause(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    untaught = {**base["teacher"], "epochs": 0.01, "learning_rate": 1e-9}
    with pytest.raises(UserError, match=r"no better than chance.*label order may differ"):
        supplies.prepared(worlds.spec(base, teacher=untaught))


def test_two_supplies_share_the_teachers_weights_by_memory_map(
    world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    prepared = supplies.prepared(worlds.spec(base))
    assert isinstance(prepared.teacher_logits["train"], np.memmap)
    mapped = Path("/proc/self/maps").read_text()
    teachers = str(supplies.cache.root / "teachers")
    assert teachers in mapped


@pytest.mark.parametrize("change", [lambda s: replace(s, rank=1)], ids=["rank 1"])
def test_only_the_first_worker_writes(
    change: Callable[[Worker], Worker], world: tuple[dict[str, Any], Supplies], tmp_path: Path
) -> None:
    base, supplies = world
    worker = change(Worker(tmp_path, world_size=2))
    assert train(worlds.spec(base), worker, supplies) is None
    assert not list(tmp_path.rglob("*.safetensors"))

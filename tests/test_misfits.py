"""What cannot work together is told before anything is fetched or fitted, with the way out."""

from pathlib import Path

import pytest

import worlds
from limbeck.archives import MODELS
from limbeck.cache import Cache
from limbeck.misfits import TaskKind, foreseen_sizes, misfits, plan_misfits
from limbeck.models import ModelFacts
from limbeck.plan import load_plan, parse_plan
from limbeck.resources import shipped_plans
from limbeck.trial import TrialSpec

MINILM = foreseen_sizes("minilm-l6")
assert MINILM is not None
CLASSES = TaskKind(regression=False, unlabelled=0)


def problems(text: str, tmp_path: Path) -> list[tuple[str, str]]:
    found = plan_misfits(parse_plan(f"name: p\n{text}", "p"), Cache(tmp_path / "cache"))
    return [(problem.where, problem.what) for problem in found]


def test_contrast_by_label_has_no_labels_in_a_regression(tmp_path: Path) -> None:
    ((where, what),) = problems("base: {task: stsb, method: codir}", tmp_path)
    assert where == "p: base.method.negatives_from"
    assert "random" in what


def test_a_regression_is_recognised_in_the_users_own_file(tmp_path: Path) -> None:
    rows = "".join(f"text number {i},{i / 10}\n" for i in range(60))
    (tmp_path / "numbers.csv").write_text("text,label\n" + rows)
    base = f"base: {{task: {{files: {{train: {tmp_path}/numbers.csv}}}}, method: codir}}"
    assert [where for where, _ in problems(base, tmp_path)] == ["p: base.method.negatives_from"]


def test_crossing_domains_needs_a_source(tmp_path: Path) -> None:
    ((where, what),) = problems("base: {task: amazon, method: l2a}", tmp_path)
    assert where == "p: base.method.source_share"
    assert "sources" in what
    assert problems("base: {task: amazon, method: l2a, sources: [movies]}", tmp_path) == []


def test_a_generator_needs_a_mask_token(tmp_path: Path) -> None:
    spec = TrialSpec.model_validate({"task": "movies", "method": "mate"})
    assert isinstance(MINILM, ModelFacts)
    (problem,) = misfits(spec, MINILM, CLASSES, masked_lm=False)
    assert problem.where == "teacher"
    assert "mask token" in problem.what
    assert misfits(spec, MINILM, CLASSES, masked_lm=True) == []


def test_sizes_are_held_against_the_teachers(tmp_path: Path) -> None:
    found = dict(problems("base: {task: movies, method: kd, student: {layers: 7, hidden: 512}}", tmp_path))
    assert {"p: base.student.layers", "p: base.student.hidden"} <= set(found)


def test_the_ends_of_a_search_are_tried_and_the_bases_own_fault_is_said_once(tmp_path: Path) -> None:
    vary = "vary: {student.layers: {int: [2, 9]}, training.learning_rate: {loguniform: [1.0e-5, 1.0e-3]}}"
    base = "base: {task: amazon, method: l2a, student: {layers: 3}}"
    found = problems(f"{base}\n{vary}\nsearch: {{trials: 4}}", tmp_path)
    assert [where for where, _ in found].count("p: base.method.source_share") == 1
    assert any(where == "p: base.student.layers" and "with student.layers=9" in what for where, what in found)


def test_workers_share_a_batch_evenly(tmp_path: Path) -> None:
    base = "base: {task: movies, method: kd, training: {batch_size: 32}}\ncluster: {workers: 3}"
    assert [where for where, _ in problems(base, tmp_path)] == ["p: base.training.batch_size"]


def test_more_unlabelled_texts_than_there_are(tmp_path: Path) -> None:
    wanted = "method: kd, training: {unlabelled: 300000}"
    assert problems(f"base: {{task: movies, {wanted}}}", tmp_path) == [
        ("p: base.training.unlabelled", "300000, but the task has 282678 unlabelled texts")
    ]
    ((where, what),) = problems(f"base: {{task: topics, {wanted}}}", tmp_path)
    assert where == "p: base.training.unlabelled"
    assert "no unlabelled texts" in what
    assert "files" in what
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"text number {i},{i % 2}\n" for i in range(60)))
    (tmp_path / "more.csv").write_text("text\nthe one\nthe other\n")
    files = f"files: {{train: {tmp_path}/train.csv, unlabelled: {tmp_path}/more.csv}}"
    own = f"base: {{task: {{{files}}}, method: kd, training: {{unlabelled: %d}}}}"
    assert problems(own % 2, tmp_path) == []
    assert problems(own % 3, tmp_path) == [("p: base.training.unlabelled", "3, but the task has 2 unlabelled texts")]


def test_gold_labels_alone_teach_nothing_about_unlabelled_texts(tmp_path: Path) -> None:
    ((where, what),) = problems("base: {task: movies, method: finetune, training: {unlabelled: 9}}", tmp_path)
    assert where == "p: base.training.unlabelled"
    assert "gold labels" in what


def test_longer_inputs_than_the_teacher_reads(tmp_path: Path) -> None:
    spec = TrialSpec.model_validate({"task": "movies", "method": "kd", "training": {"max_tokens": 512}})
    assert isinstance(MINILM, ModelFacts)
    short = ModelFacts(**{**vars(MINILM), "max_tokens": 256})
    assert [problem.where for problem in misfits(spec, short, CLASSES, masked_lm=True)] == ["training.max_tokens"]


def test_a_ready_students_own_sizes_count(tmp_path: Path) -> None:
    assert isinstance(MINILM, ModelFacts)
    folder = worlds.write_base(tmp_path / "short")
    given = {"task": "movies", "method": "kd", "student": {"checkpoint": folder}, "training": {"max_tokens": 100}}
    (problem,) = misfits(TrialSpec.model_validate(given), MINILM, CLASSES, masked_lm=True)
    assert str(problem) == "training.max_tokens: 100, but the student reads at most 64"
    method = {"name": "codir", "student_layers": [4]}
    hub = TrialSpec.model_validate({**given, "student": {"checkpoint": "some/one"}, "method": method})
    assert misfits(hub, MINILM, CLASSES, masked_lm=True) == []
    small = ModelFacts(**{**vars(MINILM), "layers": 3, "max_tokens": 128})
    (problem,) = misfits(hub, MINILM, CLASSES, masked_lm=True, ready=small)
    assert problem.where == "method.student_layers"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_built_in_models_have_sizes_before_they_are_fetched(name: str) -> None:
    facts = foreseen_sizes(name)
    assert facts is not None
    assert facts.hidden % facts.heads == 0


def test_every_plan_that_comes_with_limbeck_fits(tmp_path: Path) -> None:
    for name, path in shipped_plans().items():
        assert plan_misfits(load_plan(path), Cache(tmp_path)) == [], name

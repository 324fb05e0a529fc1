"""What in a trial cannot work together: told from a few facts, before anything is loaded or fitted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from limbeck.archives import MODELS
from limbeck.cache import Cache
from limbeck.errors import Problem, UserError
from limbeck.faults import shown
from limbeck.methods import METHODS
from limbeck.methods.base import Setting
from limbeck.models import ModelFacts, facts_of, load_facts, load_tokenizer, student_sizes
from limbeck.plan import Plan
from limbeck.tasks import TASKS, load_task
from limbeck.tasks.labels import REGRESSION_METRIC
from limbeck.trial import TrialSpec


@dataclass(frozen=True)
class TaskKind:
    """What can be told of a task before any of it is read by a model."""

    regression: bool
    unlabelled: int
    """Its texts without labels."""


def misfits(
    spec: TrialSpec, teacher: ModelFacts, task: TaskKind, *, masked_lm: bool, ready: ModelFacts | None = None
) -> list[Problem]:
    """Return what keeps the trial from running on a task of that kind under a teacher of those sizes.

    `masked_lm` says whether the teacher's vocabulary has a mask token; `ready` are the sizes of a ready student, for
    whoever has fetched it. A hub's is else taken to be as large as the teacher.
    """
    found = []
    wanted = spec.training.unlabelled
    if wanted > task.unlabelled:
        what = f"{wanted}, but the task has {task.unlabelled or 'no'} unlabelled texts"
        way_out = "" if task.unlabelled else ": set it to 0, or bring some as the task's files (files: {unlabelled: …})"
        found.append(Problem("training.unlabelled", what + way_out))
    found += _too_long(spec, "teacher", teacher)
    try:
        layers, width = _student(spec, teacher, ready)
    except UserError as error:
        return [*found, *error.problems]
    setting = Setting(
        regression=task.regression,
        masked_lm=masked_lm,
        sources=len(spec.sources),
        student_layers=layers,
        student_width=width,
        teacher_layers=teacher.layers,
        teacher_width=teacher.hidden,
        unlabelled=wanted,
    )
    return [*found, *METHODS[spec.method.name].refuses(spec.method, setting)]


def _too_long(spec: TrialSpec, role: str, facts: ModelFacts) -> list[Problem]:
    if spec.training.max_tokens <= facts.max_tokens:
        return []
    what = f"{spec.training.max_tokens}, but the {role} reads at most {facts.max_tokens}"
    return [Problem("training.max_tokens", what)]


def _student(spec: TrialSpec, teacher: ModelFacts, ready: ModelFacts | None) -> tuple[int, int]:
    name = spec.student.checkpoint
    if name is None:
        sizes = student_sizes(spec.student, teacher)
        return sizes.layers, sizes.hidden
    facts = ready or foreseen_sizes(name)
    if facts is None:
        return teacher.layers, teacher.hidden
    if problems := _too_long(spec, "student", facts):
        raise UserError(*problems)
    return facts.layers, facts.hidden


def foreseen_sizes(name: str) -> ModelFacts | None:
    """Return the sizes of a built-in model or of one in a folder; None for a hub's, which is not fetched for this."""
    if name in MODELS:
        config: Any = SimpleNamespace(**MODELS[name].config)
        return facts_of(config)
    return load_facts(name) if Path(name).expanduser().is_dir() else None


@dataclass(frozen=True)
class _Surroundings:
    """What can be told of a trial's task and teacher without a download."""

    teacher: ModelFacts | None
    """None: a hub's model."""
    task: TaskKind
    masked_lm: bool


def _surroundings(spec: TrialSpec, cache: Cache) -> _Surroundings:
    """Read the user's files and look into models in folders. UserError with what is wrong with those."""
    name = spec.teacher.checkpoint or spec.teacher.fitted_here or ""
    kind = _kind(spec, cache)
    teacher = foreseen_sizes(name)
    masked_lm = name in MODELS or teacher is None or load_tokenizer(name).mask_token_id is not None
    return _Surroundings(teacher, kind, masked_lm)


def _kind(spec: TrialSpec, cache: Cache) -> TaskKind:
    config = spec.task
    if config.known is not None:
        known = TASKS[config.known]
        return TaskKind(not known.classes, known.unlabelled)
    if config.files is not None:
        task = load_task(config, cache)
        return TaskKind(not task.classes, task.unlabelled_rows)
    return TaskKind(config.metric == REGRESSION_METRIC, 0)


def plan_misfits(plan: Plan, cache: Cache) -> list[Problem]:
    """Return what keeps trials of the plan from running, as far as it can be told without a download.

    Every cell is looked at; of a search, the base, and each value at the end of a domain laid over it.
    """
    ends = ({path: value} for path, domain in plan.vary.items() for value in domain.probes())
    known: dict[str, _Surroundings] = {}
    found: dict[Problem, dict[str, Any]] = {}
    for values in [cell.values for cell in plan.cells()] or [{}, *ends]:
        spec = plan.spec(values, plan.seeds[0])
        key = f"{spec.task.model_dump_json()} {spec.teacher.model_dump_json()}"
        if key not in known:
            known[key] = _surroundings(spec, cache)
        for problem in _foreseen(spec, known[key], plan.cluster.workers):
            # What is wrong with the base is wrong with all that is laid over it: said once.
            found.setdefault(problem, values)
    return [_located(problem, plan, values) for problem, values in found.items()]


def _foreseen(spec: TrialSpec, around: _Surroundings, workers: int) -> list[Problem]:
    found = []
    if workers and spec.training.batch_size % workers:
        what = f"{spec.training.batch_size} rows do not share out evenly among {workers} workers (cluster.workers)"
        found.append(Problem("training.batch_size", what))
    if around.teacher is None:
        return found
    return found + misfits(spec, around.teacher, around.task, masked_lm=around.masked_lm)


def _located(problem: Problem, plan: Plan, values: Mapping[str, Any]) -> Problem:
    laid = ", ".join(f"{path}={shown(value)}" for path, value in values.items())
    return Problem(f"{plan.name}: base.{problem.where}", f"{problem.what} (with {laid})" if laid else problem.what)

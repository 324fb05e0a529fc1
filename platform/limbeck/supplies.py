"""What trials share: tasks, token ids, teachers, their outputs and generators; made once, cached, kept warm."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from limbeck.archives import MODELS, model_folder
from limbeck.cache import Cache, checksum
from limbeck.encoding import Encoded, Reader, Vocabulary, encode, tokenizer_key
from limbeck.errors import Problem, UserError
from limbeck.evaluate import logits_over
from limbeck.memory import few_kernels
from limbeck.metrics import evaluate, right_by_chance
from limbeck.misfits import TaskKind, foreseen_sizes, misfits
from limbeck.models import (
    MODEL_FILES,
    Generator,
    GeneratorConfig,
    HubClassifier,
    ModelFacts,
    check_same_vocabulary,
    fit_generator,
    load_base,
    load_classifier,
    load_facts,
    load_generator,
    load_tokenizer,
    new_generator,
    new_student,
    save_classifier,
    save_generator,
)
from limbeck.optimise import native_precision
from limbeck.tasks import (
    UNLABELLED,
    Examples,
    Task,
    TaskConfig,
    load_task,
    reading,
    row_keys,
    spread,
    warn_of_leaks,
)
from limbeck.teacher import fit_teacher
from limbeck.trial import TrialSpec

log = logging.getLogger(__name__)
SELECTION = "selection"
TRAIN = "train"
TEST = "test"


@dataclass(frozen=True)
class Prepared:
    """A task and its teacher, ready for any number of students."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    splits: Mapping[str, Encoded]
    """train, selection, test and every other test set."""
    teacher: HubClassifier
    teacher_key: str
    teacher_logits: Mapping[str, np.ndarray]
    """(N, C) float32 for each of `splits`."""
    precision: str
    max_tokens: int

    def teacher_metric(self, split: str) -> float:
        """The teacher's value of the task's metric."""
        return self.metric(split, self.teacher_logits[split])

    def metric(self, split: str, logits: np.ndarray) -> float:
        """The task's metric of (N, C) logits on a split."""
        examples = self.task.splits[split]
        return evaluate(self.task.metric, examples.scored(logits), examples.labels)


class Supplies:
    """A process's way to everything that trials share. Weights and outputs are memory-mapped from the cache."""

    def __init__(self, cache: Cache, device: torch.device | str = "cpu", say: Callable[[str], None] = log.info) -> None:
        few_kernels()
        self.cache = cache
        self.device = torch.device(device)
        self._say = say
        self._tasks: dict[str, Task] = {}
        self._prepared: dict[str, Prepared] = {}
        self._seen: set[Path] = set()
        self._compared: set[tuple[str, str]] = set()

    def task(self, config: TaskConfig) -> Task:
        """Load a task, once in this process."""
        key = config.model_dump_json()
        if key not in self._tasks:
            self._tasks[key] = load_task(config, self.cache)
        return self._tasks[key]

    def prepare(self, spec: TrialSpec) -> Prepared:
        """Fit or load everything the trial shares with others, its generators too, and say what came from the cache."""
        prepared = self.prepared(spec)
        for settings in spec.method.generators():
            self.new_generator(settings, spec, prepared)
        self.unlabelled(spec, prepared)
        self.sources(spec, prepared)
        return prepared

    def prepared(self, spec: TrialSpec) -> Prepared:
        """Fit or load task and teacher, once in this process."""
        precision = resolve_precision(spec.training.precision, self.device)
        shared = [spec.task.model_dump(mode="json"), spec.teacher.model_dump(mode="json"), spec.training.max_tokens]
        key = json.dumps([*shared, precision])
        if (prepared := self._prepared.get(key)) is None:
            prepared = self._prepared[key] = self._prepare(spec, precision)
        else:
            # Another method or student may share what was prepared, and not fit it.
            refuse_misfits(spec, prepared.task, prepared.teacher.facts, prepared.vocabulary)
        return prepared

    def _prepare(self, spec: TrialSpec, precision: str) -> Prepared:
        task = self.task(spec.task)
        source = self._folder(spec.teacher.checkpoint or spec.teacher.fitted_here or "")
        tokenizer = load_tokenizer(source)
        refuse_misfits(spec, task, load_facts(source), Vocabulary.of(tokenizer))
        max_tokens = spec.training.max_tokens
        splits = {
            name: encode(examples, tokenizer, max_tokens, self.cache, f"{task.fingerprint}/{name}")
            for name, examples in task.splits.items()
        }
        vocabulary = Vocabulary.of(tokenizer)
        teacher, teacher_key = self._teacher(spec, task, tokenizer, precision)

        def outputs(name: str) -> np.ndarray:
            where = f"{task.fingerprint}/{name}"
            return self._outputs(teacher, teacher_key, where, splits[name], vocabulary, precision)

        # First of all, so that a teacher at chance need not label the rest.
        logits = {SELECTION: outputs(SELECTION)}
        refuse_chance(task, logits[SELECTION])
        logits |= {name: outputs(name) for name in splits if name != SELECTION}
        return Prepared(task, tokenizer, vocabulary, splits, teacher, teacher_key, logits, precision, max_tokens)

    def new_student(self, spec: TrialSpec, prepared: Prepared, seed: int) -> HubClassifier:
        """A fresh student of the trial's sizes, or the ready smaller model that the plan names."""
        config = spec.student
        if config.checkpoint is not None:
            folder = self._folder(config.checkpoint)
            check_same_vocabulary({"teacher": prepared.tokenizer, "student": load_tokenizer(folder)})
            config = config.model_copy(update={"checkpoint": folder})
        return new_student(config, prepared.teacher, seed).to(self.device)

    def _folder(self, name: str) -> str:
        """A built-in model's folder; any other name is a folder or a hub id already."""
        return str(model_folder(name, self.cache)) if name in MODELS else name

    def _teacher(
        self, spec: TrialSpec, task: Task, tokenizer: PreTrainedTokenizerBase, precision: str
    ) -> tuple[HubClassifier, str]:
        config = spec.teacher
        if config.checkpoint is not None:
            teacher = load_classifier(self._folder(config.checkpoint), task.classes, self.device)
            return _frozen(teacher), f"{config.checkpoint}@{weights_key(teacher)}"
        lesson = task if config.task is None else self.same_classes(config.task, task, "base.teacher.task")
        base, max_tokens = self._folder(config.fitted_here or ""), spec.training.max_tokens
        # A base that is named and the same one by default are one teacher.
        settings = {**config.model_dump(mode="json", exclude={"task"}), "base": config.fitted_here}
        key = base_key(config.fitted_here or "", base)
        wanted = [settings, lesson.fingerprint, key, tokenizer_key(tokenizer), precision, max_tokens]

        def build(folder: Path) -> None:
            train = encode(lesson.train, tokenizer, max_tokens, self.cache, f"{lesson.fingerprint}/{TRAIN}")
            model = load_base(base, task.classes, config.seed, self.device)
            fit_teacher(model, train, Vocabulary.of(tokenizer), config, precision, self._say)
            save_classifier(model, tokenizer, folder, task.classes)

        folder = self._cached("teachers", wanted, build, f"teacher {config.fitted_here} on {lesson.name}")
        return _frozen(load_classifier(folder, task.classes, self.device)), folder.name

    def same_classes(self, config: TaskConfig, task: Task, where: str) -> Task:
        """Load another task that must tell the same classes apart, to learn from; warn where it gives held-out rows."""
        other = self.task(config)
        if other.classes != task.classes:
            ours, theirs = (", ".join(t.classes) or "regression" for t in (task, other))
            raise UserError(Problem(where, f"{other.name} has the classes {theirs}; {task.name} has {ours}"))
        if (pair := (task.fingerprint, other.fingerprint)) not in self._compared:
            self._compared.add(pair)
            taught = f"the training rows of {other.name} ({where})"
            warn_of_leaks(task.name, task.splits, {taught: row_keys(other.train)})
        return other

    def unlabelled(self, spec: TrialSpec, prepared: Prepared) -> list[tuple[Encoded, np.ndarray]]:
        """The unlabelled texts the plan asks for, if any, and the teacher's logits on them: the same for every seed."""
        task, wanted = prepared.task, spec.training.unlabelled
        if not wanted:
            return []
        chosen = spread(task.unlabelled_rows, wanted)
        columns = tuple([column[i] for i in chosen] for column in task.unlabelled)
        blank = np.full(wanted, UNLABELLED) if task.classes else np.full(wanted, np.nan, np.float32)
        return [self._taught(Examples(columns, blank), f"{task.fingerprint}/unlabelled/{wanted}", prepared)]

    def sources(self, spec: TrialSpec, prepared: Prepared) -> list[tuple[Encoded, np.ndarray]]:
        """Training rows of the plan's source tasks and the teacher's logits on them."""
        found = []
        for i, config in enumerate(spec.sources):
            task = self.same_classes(config, prepared.task, f"base.sources[{i}]")
            found.append(self._taught(task.train, f"{task.fingerprint}/{TRAIN}", prepared))
        return found

    def _taught(self, examples: Examples, name: str, prepared: Prepared) -> tuple[Encoded, np.ndarray]:
        """Rows beside the task's own splits, and the teacher's logits on them; `name` names them in the cache."""
        split = encode(examples, prepared.tokenizer, prepared.max_tokens, self.cache, name)
        key, vocabulary = prepared.teacher_key, prepared.vocabulary
        return split, self._outputs(prepared.teacher, key, name, split, vocabulary, prepared.precision)

    def _outputs(
        self, teacher: HubClassifier, key: str, name: str, split: Encoded, vocabulary: Vocabulary, precision: str
    ) -> np.ndarray:
        def build(folder: Path) -> None:
            self._say(f"teacher: labelling {len(split):,} rows of {name.rsplit('/', 1)[-1]}")
            np.save(folder / "logits.npy", logits_over(teacher, split, vocabulary, precision, self.device))

        folder = self.cache.folder("teacher-outputs", [key, name, len(split), int(split.offsets[-1]), precision], build)
        logits: np.ndarray = np.load(folder / "logits.npy", mmap_mode="r")
        return logits

    def new_generator(self, settings: GeneratorConfig, spec: TrialSpec, prepared: Prepared) -> Generator:
        """A fitted masked LM of the teacher's vocabulary: a copy that may be trained."""
        config = settings.fit
        name = config.base or spec.teacher.fitted_here or spec.teacher.checkpoint or ""
        base = self._folder(name)
        if config.base is not None:
            names = {"teacher": prepared.tokenizer, "generator": load_tokenizer(base)}
            check_same_vocabulary(names)
        task, tokenizer = prepared.task, prepared.tokenizer
        named = f"{task.fingerprint}/generator"
        wanted = [config.model_dump(mode="json"), base_key(name, base), named, tokenizer_key(tokenizer)]

        def build(folder: Path) -> None:
            split = self.text(config.fit_updates * config.fit_batch_size, config.fit_max_tokens, prepared).split
            generator = new_generator(base, config, config.seed, self.device)
            refuse_short(generator, config.fit_max_tokens, "fit_max_tokens")
            fit = fit_generator(generator, split, prepared.vocabulary, config, prepared.precision, self._say)
            save_generator(generator, folder)
            (folder / "fit.json").write_text(json.dumps(vars(fit)))

        where = f"generator with {config.layers or 'all'} layers on {task.name}"
        folder = self._cached("generators", [*wanted, prepared.precision], build, where)
        generator = load_generator(folder, device=self.device)
        refuse_short(generator, spec.training.max_tokens, "training.max_tokens")
        return generator

    def text(self, rows: int, max_tokens: int, prepared: Prepared) -> Reader:
        """About `rows` texts to learn the language from, cut to `max_tokens`; labels and teacher's logits are blank."""
        texts = reading(prepared.task, rows)
        blank = Examples(columns=(texts,), labels=np.zeros(len(texts), np.int64))
        name = f"{prepared.task.fingerprint}/generator/{len(texts)}"
        split = encode(blank, prepared.tokenizer, max_tokens, self.cache, name)
        return Reader(split, np.zeros((len(split), 1), np.float32), prepared.vocabulary, self.device)

    def _cached(self, kind: str, key: Any, build: Callable[[Path], None], what: str) -> Path:
        built = self.cache.misses.get(kind, 0)
        folder = self.cache.folder(kind, key, build)
        if self.cache.misses.get(kind, 0) == built and folder not in self._seen:
            self._say(f"{what}: from the cache")
        self._seen.add(folder)
        return folder


def resolve_precision(wanted: str, device: torch.device) -> str:
    """`fp32` or `bf16`."""
    return native_precision(device) if wanted == "auto" else wanted


def _frozen(teacher: HubClassifier) -> HubClassifier:
    return teacher.eval().requires_grad_(False)


def weights_key(model: torch.nn.Module) -> str:
    """A short name for a model's weights: equal weights in the same order, equal name."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes: NumPy has no bfloat16.
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def base_key(name: str, folder: str) -> str:
    """What tells one base encoder from another: the files that a model is read from in its folder, or the hub id.

    Names and sizes do for a built-in one, which is pinned. A folder of the user's may be trained further in place.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        return folder
    if name in MODELS:
        return json.dumps(sorted((p.name, p.stat().st_size) for p in path.iterdir() if p.is_file()))
    read = sorted({p for pattern in MODEL_FILES for p in path.glob(pattern)})
    return json.dumps([(p.name, _checksum(p, p.stat().st_size, p.stat().st_mtime_ns)) for p in read])


@lru_cache(maxsize=256)
def _checksum(path: Path, size: int, changed: int) -> int:
    """The checksum of a file of that size, last changed then: read once in this process."""
    return checksum(path)


def refuse_misfits(spec: TrialSpec, task: Task, teacher: ModelFacts, vocabulary: Vocabulary) -> None:
    """Refuse a trial whose method, task and sizes cannot work together."""
    masked_lm, student = vocabulary.mask is not None, spec.student.checkpoint
    kind = TaskKind(regression=not task.classes, unlabelled=task.unlabelled_rows)
    ready = None if student is None else foreseen_sizes(student) or load_facts(student)
    if problems := misfits(spec, teacher, kind, masked_lm=masked_lm, ready=ready):
        raise UserError(*(Problem(f"base.{problem.where}", problem.what) for problem in problems))


def refuse_short(generator: Generator, tokens: int, setting: str) -> None:
    """Refuse a generator that has fewer positions than the texts have tokens by that setting."""
    if tokens > generator.max_tokens:
        what = f"it reads at most {generator.max_tokens} tokens, but {setting} is {tokens}: lower that, or take another"
        raise UserError(Problem("generator.base", what))


def refuse_chance(task: Task, logits: np.ndarray) -> None:
    """Refuse a teacher whose (N, C) logits on the selection split are no better than chance.

    Better means: right on all rows, or on more than its own answers dealt to the rows at random would be, by over two
    standard errors. Accuracy against the commonest class would not do: where that has nearly all rows, a good teacher
    need not beat it, and one that knows no other class comes close. A correlation must exceed 0.1.
    """
    labels = task.selection.labels
    if task.classes:
        said = logits.argmax(1)
        right, chance = int((said == labels).sum()), right_by_chance(labels, said)
        if right == len(labels) or right > chance.mean + 2 * chance.deviation:
            return
        found = f"is right on {right:,} of the {len(labels):,} rows"
        rule = f"its answers in any order would be on {chance.mean:,.0f} ± {2 * chance.deviation:,.0f}"
    else:
        value = evaluate(task.metric, logits, labels)
        if value > 0.1:
            return
        found, rule = f"scores {value:.3f}", "more than 0.1 would be"
    names = ", ".join(task.classes) or "regression"
    raise UserError(
        Problem(
            "base.teacher",
            f"the teacher {found} on {task.name}'s selection split, no better than chance ({rule}). Its label order "
            f"may differ from the task's ({names}), or it was fitted on another task or for too few epochs.",
        )
    )

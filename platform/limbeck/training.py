"""One trial: its loop, its evaluations, its checkpoints, and the student it ends with. Knows nothing of Ray."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck import checkpoint
from limbeck.encoding import Batch, Order, Reader, take
from limbeck.examination import Examiner
from limbeck.latency import recent_latency_ms
from limbeck.memory import Freed, keep_freed
from limbeck.methods import METHODS
from limbeck.methods.base import STUDENT, Method, Parts, TaskFacts
from limbeck.models import parameters, parameters_non_embedding, save_classifier
from limbeck.noise import RowNoise, derived_seed
from limbeck.optimise import Optimiser, autocast, warmup_decay
from limbeck.supplies import SELECTION, TEST, TRAIN, Prepared, Supplies
from limbeck.tasks import subsample
from limbeck.trial import TrialSpec
from limbeck.worker import Progress, Result, TrialFailed, Worker, read_result, write_result


def train(spec: TrialSpec, worker: Worker, supplies: Supplies) -> Result | None:
    """Run a trial to its end, or from its last checkpoint on. None: it was told to stop before its end.

    Raises TrialFailed when the loss is no longer a number.
    """
    if (finished := read_result(worker.folder)) is not None:
        for past in finished.evaluated:
            worker.report(past)
        return finished
    keep_freed()
    run = _Run(spec, worker, supplies)
    run.resume()
    if not run.to_the_end():
        return None
    return run.finish()


@dataclass
class _State:
    """What changes during a trial beside tensors: all of it is in the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    paces: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Where seconds are limited, of every phase: those of its steps so far, and the padded tokens of their batches."""
    best_metric: float = -math.inf
    best_update: int = 0
    updates: dict[str, int] = field(default_factory=dict)


class _Run:
    """A trial in progress."""

    def __init__(self, spec: TrialSpec, worker: Worker, supplies: Supplies) -> None:
        self.spec, self.worker, self.device = spec, worker, supplies.device
        self.prepared = prepared = supplies.prepared(spec)
        self.reader = self._labelled(prepared).followed_by(*supplies.unlabelled(spec, prepared))
        self.data = self.reader.split
        self.student = supplies.new_student(spec, prepared, derived_seed(spec.seed, "init"))
        # Gradients of the words that a batch has alone. A GPU would be waited for, and workers average whole tables.
        self.student.embedding.sparse = self.device.type == "cpu" and worker.world_size == 1
        self.examiner = Examiner(prepared, self.student, self.device)
        self.method = self._method(prepared, supplies)
        self.optimisers = self._optimisers()
        self.order = Order(self.data.lengths, spec.training.batch_size, derived_seed(spec.seed, "order"))
        self.total = spec.training.updates_over(len(self.data))
        self.evaluations = self._evaluation_points()
        self.state = _State(updates=dict.fromkeys(self.optimisers, 0))
        self.best: dict[str, Tensor] | None = None
        self.sums: dict[str, tuple[Tensor, int]] = {}
        # Seconds may be spent before the student's first update, and the end is always evaluated.
        self.last_evaluated = -1
        self.evaluated: list[Progress] = []
        """What every evaluation so far found, without its examples."""
        self.freed = Freed()

    # -- making ready ---------------------------------------------------------------------------------------------

    def _labelled(self, prepared: Prepared) -> Reader:
        """The labelled training rows that the student may see."""
        data, logits, wanted = prepared.splits[TRAIN], prepared.teacher_logits[TRAIN], self.spec.training.rows
        if wanted is not None and wanted < len(data):
            rows = subsample(data.labels, wanted, derived_seed(self.spec.seed, "rows"))
            data, logits = take(data, rows), np.array(logits[rows])
        return Reader(data, logits, prepared.vocabulary, self.device)

    def _method(self, prepared: Prepared, supplies: Supplies) -> Method:
        classes, rows, unlabelled = len(prepared.task.classes), len(self.data), self.spec.training.unlabelled
        labels, said = np.array(self.data.labels), self.reader.teacher_logits[rows - unlabelled :]
        labels[rows - unlabelled :] = said.argmax(1) if classes else said[:, 0]
        facts = TaskFacts(classes, rows, torch.from_numpy(labels).to(self.device), unlabelled)
        parts = Parts(
            student=self.student,
            teacher=prepared.teacher,
            task=facts,
            vocabulary=prepared.vocabulary,
            pool=self.reader.followed_by(*supplies.sources(self.spec, prepared)),
            batch_size=self.spec.training.batch_size,
            new_generator=lambda config: supplies.new_generator(config, self.spec, prepared),
            text=lambda rows, max_tokens: supplies.text(rows, max_tokens, prepared),
            gather=self.worker.gather,
            seed=derived_seed(self.spec.seed, "method"),
        )
        config = self.spec.method
        return METHODS[config.name](config, parts)

    def _optimisers(self) -> dict[str, Optimiser]:
        settings = self.spec.training
        return {
            name: Optimiser(
                part.module.parameters(),
                learning_rate=part.learning_rate or settings.learning_rate,
                weight_decay=settings.weight_decay if part.weight_decay is None else part.weight_decay,
                clip_norm=part.clip_norm or settings.clip_norm,
            )
            for name, part in self.method.trainable.items()
        }

    def _evaluation_points(self) -> set[int]:
        settings = self.spec.training
        epochs = self.total * settings.batch_size / len(self.data)
        count = min(self.total, settings.evaluations or min(10, max(3, round(epochs))))
        return {round(self.total * (i + 1) / count) for i in range(count)}

    # -- the loop -------------------------------------------------------------------------------------------------

    def to_the_end(self) -> bool:
        """Run until the budget is spent; False when told to stop."""
        while not self._spent():
            started = self.worker.clock()
            phase = self._step()
            self.freed.after(phase)
            self._count(phase, self.worker.clock() - started)
            due = phase == STUDENT and self.updates in self.evaluations
            if (due or self._spent()) and self.updates > self.last_evaluated:
                self._evaluate()
                if self.worker.should_stop():
                    return False
        return True

    @property
    def updates(self) -> int:
        """Student updates so far: the unit of the budget."""
        return self.state.updates[STUDENT]

    def _count(self, phase: str, seconds: float) -> None:
        """Add the seconds of the step that was just taken."""
        if self.spec.training.seconds is not None:
            if self.worker.world_size > 1:
                # Workers must end at the same step, and until then learn at the same rate.
                mean = torch.tensor([seconds], device=self.device)
                self.worker.average([mean])
                seconds = float(mean)
            past, tokens = self.state.paces.get(phase, (0.0, 0))
            self.state.paces[phase] = past + seconds, tokens + self._tokens(self.state.step - 1)
        self.state.seconds += seconds

    def _spent(self) -> bool:
        """Whether the budget is behind: of seconds, as soon as the next step would end farther from them than this."""
        if self.updates >= self.total:
            return True
        limit = self.spec.training.seconds
        return limit is not None and self.state.seconds + self._expected() / 2 >= limit

    def _expected(self) -> float:
        """Seconds of the coming step, at its phase's pace so far: the longest texts take many times the shortest's."""
        seconds, tokens = self.state.paces.get(self.method.phase(self.state.step), (0.0, 1))
        return seconds / tokens * self._tokens(self.state.step)

    def _tokens(self, step: int) -> int:
        """Tokens of a step's batch, with its pads."""
        rows = self.order.batch(step)
        return len(rows) * int(self.data.lengths[rows].max())

    def _done(self) -> float:
        """The share of the budget that is behind at the middle of the coming update."""
        limit = self.spec.training.seconds
        by_time = 0.0 if limit is None else self.state.seconds / limit
        return max(by_time, (self.updates + 0.5) / self.total)

    def _batch(self, step: int) -> tuple[Batch, RowNoise]:
        rows = self.order.batch(step)
        share = len(rows) // self.worker.world_size
        places = range(self.worker.rank * share, (self.worker.rank + 1) * share)
        width = int(self.data.lengths[rows].max())
        batch = self.reader.read(rows[places.start : places.stop], width)
        return batch, RowNoise(derived_seed(self.spec.seed, "noise"), step, places)

    def _step(self) -> str:
        step, settings = self.state.step, self.spec.training
        phase = self.method.phase(step)
        batch, noise = self._batch(step)
        # Dropout draws from torch's global generator: seeded by step and rank it needs no place in the checkpoint.
        torch.manual_seed(derived_seed(self.spec.seed, "dropout", step, self.worker.rank))
        self.student.train()
        with autocast(self.prepared.precision, self.device):
            loss = self.method.loss(batch, phase, noise)
        share = warmup_decay(self._done(), settings.warmup) if phase == STUDENT else 1.0
        norm = self.optimisers[phase].step(loss.total, self.worker.average, share)
        terms = {f"loss/{phase}": loss.total.detach(), f"gradient_norm/{phase}": norm}
        self._add({**terms, **{f"loss/{name}": value for name, value in loss.parts.items()}})
        self.state.step += 1
        self.state.updates[phase] += 1
        return phase

    def _add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            total, count = self.sums.get(name, (torch.zeros((), device=self.device), 0))
            self.sums[name] = (total + value.detach().float(), count + 1)

    # -- looking --------------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        metrics = self._means()
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise TrialFailed(f"diverged before update {self.updates}: {', '.join(bad)} is not a finite number")
        logits = self.examiner.logits(SELECTION)
        metrics |= self.examiner.scores(SELECTION, logits)
        metrics["retention"] = metrics.get(f"{SELECTION}/retention", math.nan)
        metrics["learning_rate_share"] = warmup_decay(min(1.0, self._done()), self.spec.training.warmup)
        found, examples = self.examiner.diagnosis(self.method, derived_seed(self.spec.seed, "diagnosis"), logits)
        metrics |= found
        metrics["epoch"] = self.updates * self.spec.training.batch_size / len(self.data)
        self.last_evaluated = self.updates
        self._keep_best(metrics[f"{SELECTION}/{self.prepared.task.metric}"])
        progress = Progress(self.updates, self.total, self.state.seconds, metrics)
        self.evaluated.append(progress)
        path = self._save() if self.worker.rank == 0 else None
        self.worker.report(replace(progress, checkpoint=path, examples=examples))

    def _means(self) -> dict[str, float]:
        names = sorted(self.sums)
        means = [self.sums[name][0] / self.sums[name][1] for name in names]
        self.worker.average(means)
        self.sums = {}
        return {name: float(value) for name, value in zip(names, means, strict=True)}

    def _keep_best(self, metric: float) -> None:
        if metric > self.state.best_metric:
            self.state.best_metric, self.state.best_update = metric, self.updates
            self._keep_student()

    def _keep_student(self) -> None:
        if self.spec.training.keep == "best":
            self.best = {k: v.detach().cpu().clone() for k, v in self.student.state_dict().items()}

    # -- keeping --------------------------------------------------------------------------------------------------

    def _save(self) -> Path:
        tensors: dict[str, Tensor] = {}
        for name, part in self.method.trainable.items():
            tensors |= {f"module/{name}/{key}": value for key, value in part.module.state_dict().items()}
            tensors |= checkpoint.flatten_optimiser(f"optimiser/{name}", self.optimisers[name].adam)
        if self.best is not None and self.state.best_update < self.updates:
            tensors |= {f"best/{key}": value for key, value in self.best.items()}
        facts = {"trial": self.spec.id, "state": vars(self.state), "evaluated": [vars(past) for past in self.evaluated]}
        return checkpoint.save(self.worker.folder / "checkpoints", self.state.step, tensors, facts)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint in the trial's folder, if there is one of this very trial.

        What was found up to there is reported again: a driver that was killed had not heard all that a trial had said.
        """
        found = checkpoint.newest(self.worker.folder / "checkpoints")
        if found is None or found[1].get("trial") != self.spec.id:
            return
        tensors, facts = found
        self.state = _State(**facts["state"])
        self.last_evaluated = self.updates
        for name, part in self.method.trainable.items():
            prefix = f"module/{name}/"
            own = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
            part.module.load_state_dict(own)
            checkpoint.restore_optimiser(f"optimiser/{name}", self.optimisers[name].adam, tensors)
        if self.state.best_update == self.updates:
            # The student itself: a checkpoint holds it once.
            self._keep_student()
        else:
            self.best = {key[5:]: value for key, value in tensors.items() if key.startswith("best/")} or None
        self.evaluated = [Progress(**past) for past in facts["evaluated"]]
        for past in self.evaluated:
            self.worker.report(past)

    def finish(self) -> Result | None:
        """Read the test sets, once, and leave student, predictions and numbers in the trial's folder."""
        if self.best is not None:
            self.student.load_state_dict(self.best)
        if self.worker.rank != 0:
            return None
        metrics = self._known()
        predictions = self.worker.folder / "predictions"
        predictions.mkdir(parents=True, exist_ok=True)
        for split in (TEST, *self.prepared.task.others):
            logits = self.examiner.logits(split)
            metrics |= self.examiner.scores(split, logits)
            metrics[f"teacher/{split}/{self.prepared.task.metric}"] = self.prepared.teacher_metric(split)
            np.save(predictions / f"{split}.npy", logits.astype(np.float16))
            np.save(predictions / f"teacher-{split}.npy", self.prepared.teacher_logits[split].astype(np.float16))
            np.save(predictions / f"gold-{split}.npy", np.asarray(self.prepared.splits[split].labels))
        metrics[f"teacher/{SELECTION}/{self.prepared.task.metric}"] = self.prepared.teacher_metric(SELECTION)
        metrics |= self._sizes()
        test, graph = self.prepared.splits[TEST], self.worker.graph
        metrics |= recent_latency_ms(self.student, test, self.prepared.vocabulary, self.device, graph=graph)
        student = self.worker.folder / "student"
        read = (len(self.prepared.task.test.columns), self.prepared.max_tokens)
        save_classifier(self.student, self.prepared.tokenizer, student, self.prepared.task.classes, read)
        metrics["disk_bytes"] = float(sum(path.stat().st_size for path in student.iterdir()))
        write_result(self.worker.folder, metrics, self.evaluated)
        checkpoint.remove_all(self.worker.folder / "checkpoints")
        return read_result(self.worker.folder)

    def _known(self) -> dict[str, float]:
        """What was found on the selection split of the student that is kept."""
        kept = self.updates if self.best is None else self.state.best_update
        found = next(past.metrics for past in self.evaluated if past.updates == kept)
        return {k: v for k, v in found.items() if k.startswith(f"{SELECTION}/") or k == "retention"}

    def _sizes(self) -> dict[str, float]:
        teacher = self.prepared.teacher
        return {
            "parameters": float(parameters(self.student)),
            "parameters_non_embedding": float(parameters_non_embedding(self.student)),
            "teacher/parameters": float(parameters(teacher)),
            "teacher/parameters_non_embedding": float(parameters_non_embedding(teacher)),
            "train_seconds": self.state.seconds,
            "best_update": float(self.state.best_update),
            "updates": float(self.updates),
            **{f"updates/{name}": float(count) for name, count in self.state.updates.items() if name != STUDENT},
        }

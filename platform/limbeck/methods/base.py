"""The contract between a distillation method and the training loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from limbeck.config import Config
from limbeck.encoding import Batch, Vocabulary
from limbeck.errors import Problem
from limbeck.models import Classifier, Generator, GeneratorConfig, generators_within
from limbeck.noise import RowNoise

STUDENT = "student"


class MethodConfig(Config):
    """A method's settings: the paper's defaults, units in the names. Each narrows `name` to its own."""

    name: str

    def generators(self) -> Iterator[GeneratorConfig]:
        """Every generator that a trial with these settings asks for: all that is shared and fitted before it starts."""
        return generators_within(self)


@dataclass(frozen=True)
class TaskFacts:
    """What a method may know about the task."""

    classes: int
    """Number of classes; 0 for regression."""
    rows: int
    """Training rows the student may see: stable row numbers of batches lie in [0, rows)."""
    labels: Tensor
    """(rows,) gold labels of the training rows; what the teacher says of the unlabelled ones."""
    unlabelled: int = 0
    """How many of them have no gold label: the last ones. Their label in a batch is UNLABELLED, or NaN."""

    @property
    def regression(self) -> bool:
        return self.classes == 0


@dataclass(frozen=True)
class Setting:
    """What is known of a trial before anything is loaded or fitted: enough to say that a method cannot serve it."""

    regression: bool
    masked_lm: bool
    """Whether the vocabulary has a mask token, so that a generator can write in it."""
    sources: int
    """Source tasks beside the target."""
    student_layers: int
    student_width: int
    teacher_layers: int
    teacher_width: int
    unlabelled: int = 0
    """Unlabelled texts among the student's training rows."""


def _identity(x: Tensor) -> Tensor:
    return x


class Rows(Protocol):
    """Rows that can be read in any order."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int]) -> Batch:
        """These rows as a batch on the trial's device, padded to their longest."""
        ...


@dataclass(frozen=True)
class Parts:
    """The networks and facts a method is built from."""

    student: Classifier
    teacher: Classifier
    task: TaskFacts
    vocabulary: Vocabulary
    pool: Rows
    """The student's training rows, [0, task.rows), and after them the rows of the plan's source tasks."""
    batch_size: int
    """Rows of a step over all workers."""
    new_generator: Callable[[GeneratorConfig], Generator]
    """A masked LM of the common vocabulary, fitted on the task's text: a fresh copy that may be trained."""
    text: Callable[[int, int], Rows]
    """(about how many rows, longest in tokens) -> the task's own and unlabelled text, with blank labels."""
    gather: Callable[[Tensor], Tensor] = _identity
    """(b, …) of this worker -> (B, …) of all workers in global order. Gradients come back so that averaging over the
    workers gives one worker's gradient, provided every worker computes the same value from the gathered batch."""
    seed: int = 0
    """For the initial values of a method's own modules."""

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens that both networks read."""
        return min(self.student.max_tokens, self.teacher.max_tokens)


@dataclass(frozen=True)
class Trainable:
    """A module with an optimiser of its own. All of a method's state lives in parameters and buffers of these."""

    module: nn.Module | Classifier
    learning_rate: float | None = None
    """Constant rate; None takes the plan's rate and schedule."""
    weight_decay: float | None = None
    clip_norm: float | None = None


@dataclass(frozen=True)
class StepLoss:
    """What one step minimises, and its named parts for the log (detached scalars, still on the device)."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Invented:
    """Inputs a method made up from a batch, for diagnosis."""

    input_ids: Tensor
    """(B, n) tokens: of the original where an input is changed in embedding space only."""
    changed: Tensor
    """(B, n) True where the method was free to change the input."""
    teacher_logits: Tensor
    """(B, C) teacher on the invented inputs."""
    student_logits: Tensor
    """(B, C) student on the invented inputs."""
    perplexity: Tensor | None = None
    """() perplexity of the changed tokens under the generator as first fitted."""


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Switch dropout off for a while: an adversary should not chase its noise.

    Nor has it a use for gradients of the module's own parameters: nothing is kept for them.
    """
    was, learning = module.training, [p for p in module.parameters() if p.requires_grad]
    module.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        module.train(was)
        for parameter in learning:
            parameter.requires_grad_(True)


def as_module(network: object) -> nn.Module:
    """A classifier in the place of a module: that is what it is underneath."""
    assert isinstance(network, nn.Module)
    return network


class Method(Protocol):
    """One way to distil. Abstract here, final in its own file; mathematics in pure functions beside it."""

    Config: ClassVar[Any]
    """Its `MethodConfig`."""

    def __init__(self, config: Any, parts: Parts) -> None: ...

    @staticmethod
    def refuses(config: Any, setting: Setting) -> Sequence[Problem]:
        """What keeps `config` from running in `setting`: field, as a path from the trial's root, and the way out."""
        ...

    @property
    def trainable(self) -> Mapping[str, Trainable]:
        """Phase name -> what that phase updates. Holds "student"; one optimiser each."""
        ...

    def phase(self, step: int) -> str:
        """Which of `trainable` step `step` (from 0) updates: pure, so that every worker and every resume agrees."""
        ...

    def loss(self, batch: Batch, phase: str, noise: RowNoise) -> StepLoss:
        """The loss of one step over this worker's rows, averaged over them. Never calls `.item()`."""
        ...

    def invent(self, batch: Batch, noise: RowNoise) -> Invented | None:
        """The inputs the method would make from `batch` now, without gradients; None where it invents nothing."""
        ...

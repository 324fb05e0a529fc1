"""TrialSpec: everything one trial needs, frozen, named by the hash of its content."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, SerializeAsAny

from limbeck.config import Config, content_hash
from limbeck.errors import did_you_mean
from limbeck.methods import METHODS
from limbeck.methods.base import MethodConfig
from limbeck.models import StudentConfig
from limbeck.tasks import TaskConfig
from limbeck.teacher import TeacherConfig


class TrainingConfig(Config):
    """How long and how fast the student learns. One update is one step of the student's optimiser."""

    epochs: PositiveFloat = 3.0
    updates: PositiveInt | None = None
    """Student updates in all; overrides `epochs`. Steps of other modules (a generator's) come on top."""
    seconds: PositiveFloat | None = None
    """Stop at the update nearest to this much training time: for comparisons at equal cost."""
    rows: PositiveInt | None = None
    """Labelled training rows the student may see, stratified by class and drawn by the trial's seed. Default: all."""
    unlabelled: NonNegativeInt = 0
    """Texts of the task's kind without labels that the student sees beside them, labelled by the teacher alone."""
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 5e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the student's updates during which its learning rate rises linearly; then it falls linearly to 0."""
    clip_norm: PositiveFloat = 1.0
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bf16 autocast where the processor or GPU multiplies bf16 natively."""
    evaluations: PositiveInt | None = None
    """Evaluations on the selection split, evenly spread over the updates. Default: one an epoch, 3 to 10 in all."""
    keep: Literal["best", "last"] = "best"
    """Which student the trial ends with: the best on the selection split, or the last."""

    def updates_over(self, rows: int) -> int:
        """Return how many student updates are planned with so many training rows."""
        return self.updates or max(1, round(self.epochs * rows / self.batch_size))


def _method(value: Any) -> Any:
    """Turn `{name: mate, ...}` into the config of that method."""
    if isinstance(value, MethodConfig):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or "name" not in value:
        raise ValueError(f"a method needs a name, one of: {', '.join(METHODS)}")
    fields = dict(value)
    name = fields.pop("name")
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"no such method: {name!r}. {did_you_mean(str(name), METHODS)}")
    return METHODS[name].Config(**fields)


class TrialSpec(Config):
    """One configuration with one seed."""

    task: TaskConfig
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    method: Annotated[SerializeAsAny[MethodConfig], BeforeValidator(_method)]
    training: TrainingConfig = TrainingConfig()
    sources: tuple[TaskConfig, ...] = ()
    """Other tasks with the same classes whose training rows a cross-domain method may use."""
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def id(self) -> str:
        """The trial's name: a hash of all its fields."""
        return content_hash(self.model_dump(mode="json"))

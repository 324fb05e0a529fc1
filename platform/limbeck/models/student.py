"""How big the student is and what it starts from."""

import copy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from limbeck.config import Config
from limbeck.errors import Problem, UserError
from limbeck.models.classifier import HubClassifier
from limbeck.models.families import ModelFacts
from limbeck.models.loading import class_names, load_base, seeded
from limbeck.models.selection import copy_weights


class StudentConfig(Config):
    """The student's size and what it starts from. Sizes left out follow the teacher's."""

    layers: PositiveInt | None = None
    """Default: as many as `layer_map` names, or else half of the teacher's."""
    hidden: PositiveInt | None = None
    """Width of the hidden states. Default: the teacher's."""
    heads: PositiveInt | None = None
    """Default: heads of the teacher's size, or, where `hidden` is no multiple of that, at most as many as it has."""
    intermediate: PositiveInt | None = None
    """Width inside the feed-forward blocks. Default: the teacher's ratio to `hidden`."""
    init: Literal["teacher", "random"] = "teacher"
    """`teacher` copies the teacher's weights, evenly spaced ones where the student is narrower."""
    layer_map: tuple[PositiveInt, ...] | None = None
    """Which teacher layers to copy, counted from 1, one a student layer. Default: evenly spaced, the last included."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Every dropout rate. Default: the teacher's."""
    checkpoint: str | None = None
    """Folder or hub id of a ready smaller model with the teacher's vocabulary, in place of all of the above."""

    @model_validator(mode="after")
    def _agree(self) -> "StudentConfig":
        given = [
            name for name, value in self if name != "checkpoint" and value != type(self).model_fields[name].default
        ]
        if self.checkpoint is not None and given:
            raise ValueError(f"a checkpoint has sizes and weights of its own: leave out {', '.join(given)}")
        if self.layer_map is None:
            return self
        if self.init == "random":
            raise ValueError("layer_map says which teacher layers to copy, but init is random: leave one of them out")
        if self.layers not in (None, len(self.layer_map)):
            raise ValueError(f"layer_map names {len(self.layer_map)} layers, but layers is {self.layers}")
        return self


@dataclass(frozen=True)
class StudentSizes:
    """A student's sizes with nothing left open."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    layer_map: tuple[int, ...]
    """Teacher layer, counted from 1, that each layer is copied from; empty for random weights."""


def student_sizes(config: StudentConfig, teacher: ModelFacts) -> StudentSizes:
    """Fill the gaps of `config` (one without a checkpoint); raise UserError with all that does not fit the teacher."""
    layers = config.layers or len(config.layer_map or ()) or max(1, teacher.layers // 2)
    hidden = config.hidden or teacher.hidden
    heads = config.heads or _heads(hidden, teacher)
    intermediate = config.intermediate or max(1, round(hidden * teacher.intermediate / teacher.hidden))
    layer_map: tuple[int, ...] = ()
    if config.init == "teacher":
        layer_map = config.layer_map or tuple((i + 1) * teacher.layers // layers for i in range(layers))
    sizes = StudentSizes(layers, hidden, heads, intermediate, layer_map)
    if problems := _problems(config, sizes, teacher):
        raise UserError(*problems)
    return sizes


def _heads(hidden: int, teacher: ModelFacts) -> int:
    size = teacher.hidden // teacher.heads
    if hidden % size == 0:
        return hidden // size
    return max(h for h in range(1, teacher.heads + 1) if hidden % h == 0)


def _problems(config: StudentConfig, sizes: StudentSizes, teacher: ModelFacts) -> list[Problem]:
    found = []
    if sizes.hidden % sizes.heads:
        found.append(Problem("student.heads", f"{sizes.heads} heads do not divide hidden = {sizes.hidden} evenly"))
    if config.init == "random":
        return found
    remedy = "`init: teacher` only copies what is there. Take less, or `init: random`"
    if config.layer_map is None and sizes.layers > teacher.layers:
        found.append(
            Problem("student.layers", f"{sizes.layers} layers, but the teacher has {teacher.layers}. {remedy}")
        )
    if beyond := [n for n in config.layer_map or () if n > teacher.layers]:
        found.append(Problem("student.layer_map", f"no layer {beyond[0]}: the teacher has 1 to {teacher.layers}"))
    for name, ours, theirs in (
        ("hidden", sizes.hidden, teacher.hidden),
        ("intermediate", sizes.intermediate, teacher.intermediate),
    ):
        if ours > theirs:
            found.append(Problem(f"student.{name}", f"{ours} is wider than the teacher's {theirs}. {remedy}"))
    return found


def new_student(config: StudentConfig, teacher: HubClassifier, seed: int) -> HubClassifier:
    """Return a fresh student of the teacher's family and classes, in training mode, on the teacher's device.

    `seed` decides random weights; the process's own random state is neither read nor moved.
    """
    device = next(teacher.parameters()).device
    if config.checkpoint is not None:
        student = load_base(config.checkpoint, class_names(teacher), seed)
    else:
        sizes = student_sizes(config, teacher.facts)
        student = _build(sizes, teacher, config.dropout, seed)
        if sizes.layer_map:
            copy_weights(student, teacher, sizes.layer_map)
    return student.to(device).train()


def _build(sizes: StudentSizes, teacher: HubClassifier, dropout: float | None, seed: int) -> HubClassifier:
    from transformers import AutoModelForSequenceClassification

    config: Any = copy.deepcopy(teacher.model.config)
    if teacher.facts.model_type == "electra":
        config.embedding_size = _electra_embedding(config, sizes)
    config.num_hidden_layers = sizes.layers
    config.hidden_size = sizes.hidden
    config.num_attention_heads = sizes.heads
    setattr(config, teacher.family.intermediate, sizes.intermediate)
    if dropout is not None:
        for name in teacher.family.dropouts:
            setattr(config, name, dropout)
    with seeded(seed):
        model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    return HubClassifier(model)


def _electra_embedding(config: Any, sizes: StudentSizes) -> int:
    """Keep ELECTRA's narrow embeddings as they are, and embeddings as wide as the hidden states as wide as those."""
    if config.embedding_size == config.hidden_size:
        return sizes.hidden
    if config.embedding_size == sizes.hidden and sizes.layer_map:
        what = f"{sizes.hidden} is the width of the teacher's embeddings, which leaves no room for its projection"
        raise UserError(Problem("student.hidden", f"{what} from them. Take another width, or `init: random`"))
    return int(config.embedding_size)

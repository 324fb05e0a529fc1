"""How big the student is and what it starts from."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from limbeck.config import Config
from limbeck.models.classifier import HubClassifier


class StudentConfig(Config):
    """The student's size and initialisation. Sizes left out are the teacher's, except that layers are halved."""

    layers: PositiveInt | None = None
    hidden: PositiveInt | None = None
    heads: PositiveInt | None = None
    intermediate: PositiveInt | None = None
    init: Literal["teacher", "random"] = "teacher"
    layer_map: tuple[PositiveInt, ...] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    checkpoint: str | None = None


def new_student(config: StudentConfig, teacher: HubClassifier, seed: int) -> HubClassifier:
    """Return a fresh student for `teacher`."""
    raise NotImplementedError

"""TaskConfig: which task a trial is about, as a plan names it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from limbeck.config import Config
from limbeck.errors import did_you_mean
from limbeck.tasks.embedded import EMBEDDED, Embedded
from limbeck.tasks.hub import GLUE, HubTask
from limbeck.tasks.labels import REGRESSION_METRIC
from limbeck.tasks.task import UNLABELLED_ROWS

Metric = Literal["accuracy", "matthews", "pearson_spearman", "accuracy_f1", "f1_macro"]
TASKS: Mapping[str, Embedded | HubTask] = {**EMBEDDED, **GLUE}
"""Tasks known by name: those that come with limbeck, and GLUE's nine from the hub."""


def _columns(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class FilesConfig(Config):
    """A user's own files: CSV, TSV, JSON lines or Parquet, told by their extension."""

    train: Path
    selection: Path | None = None
    """Default: a tenth of the training rows, by class."""
    test: Path | None = None
    """Default: a tenth of the training rows, by class."""
    unlabelled: Path | None = None
    """Texts of the same kind, in the same text columns: generators learn from them, and `training.unlabelled` of them
    are labelled by the teacher."""

    @property
    def given(self) -> dict[str, Path]:
        """The files that were named, by split."""
        named = {"train": self.train, "selection": self.selection, "test": self.test, UNLABELLED_ROWS: self.unlabelled}
        return {split: path for split, path in named.items() if path is not None}


class TaskConfig(Config):
    """Exactly one of `name`, `hub` and `files`. A bare string is a name."""

    name: str | None = None
    """A task of `limbeck tasks`."""
    hub: str | None = None
    """A data set id, or a folder that `datasets.load_dataset` reads."""
    config: str | None = None
    """The data set's configuration, for a hub task."""
    files: FilesConfig | None = None
    text: Annotated[Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] | None, BeforeValidator(_columns)] = (
        None
    )
    """One text column, or two for pairs. Default `text` for files; a known task brings its own."""
    label: str | None = None
    """The label column. Default `label`; a known task brings its own."""
    metric: Metric | None = None
    """Default: accuracy for classes, pearson_spearman for numbers; a known task brings its own."""
    companions: bool = False
    """Also test on the out-of-domain data sets of a known task. Default: yes where they come with limbeck, no where
    the hub would be asked for them."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if isinstance(value, Mapping) and isinstance(name := value.get("name"), str) and name in EMBEDDED:
            return {"companions": bool(EMBEDDED[name].companions), **value}
        return value

    @field_validator("name")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in TASKS:
            raise ValueError(f"no such task: '{name}'. {did_you_mean(name, TASKS)}")
        return name

    @model_validator(mode="after")
    def _one_source(self) -> "TaskConfig":
        given = [field for field in ("name", "hub", "files") if getattr(self, field) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of name, hub and files; got {' and '.join(given) or 'none'}")
        if self.config is not None and self.hub is None:
            raise ValueError("config belongs to a hub task; give hub as well")
        if self.hub is not None and self.known is None and self.text is None:
            raise ValueError("name the text column, or the two of them (text: [premise, hypothesis])")
        return self

    @model_validator(mode="after")
    def _fits_known(self) -> "TaskConfig":
        """A known task brings its columns; its classes say which metrics make sense."""
        known = TASKS[self.known] if self.known else None
        if self.companions and not (known and known.companions):
            with_some = ", ".join(name for name, task in TASKS.items() if task.companions)
            raise ValueError(f"companions are declared for these tasks only: {with_some}")
        if known is None:
            return self
        if self.text is not None or self.label is not None:
            raise ValueError(f"the task '{self.known}' brings its own text and label columns; leave them out")
        regression = self.metric == REGRESSION_METRIC
        if self.metric and (
            regression != (not known.classes) or (self.metric == "accuracy_f1" and len(known.classes) != 2)
        ):
            raise ValueError(f"the metric {self.metric} does not fit '{self.known}'; its own is {known.metric}")
        return self

    @property
    def known(self) -> str | None:
        """The name in TASKS of the task this config means, or None."""
        if self.name is not None:
            return self.name
        return next((name for name, task in GLUE.items() if (task.id, task.config) == (self.hub, self.config)), None)

"""Reads the sections of a plan file and gathers what is wrong with them, so that all of it is said at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from limbeck.config import Config
from limbeck.designs import AblateConfig, task_label
from limbeck.domains import Domain
from limbeck.dotted import within
from limbeck.errors import did_you_mean
from limbeck.faults import Fault, model_faults, shown, trial_faults
from limbeck.overrides import SECTIONS
from limbeck.sections import (
    ClusterConfig,
    Direction,
    SearchConfig,
    objective_warnings,
    parse_limits,
    parse_objectives,
    parse_seeds,
    search_faults,
)
from limbeck.trial import TrialSpec
from limbeck.varying import condition_faults, laid_faults, ordered, pair_faults, parse_vary, value_faults

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FEW_SEEDS = 5
_MOST_ENTRIES = 64
C = TypeVar("C", bound=Config)


@dataclass
class Draft:
    """A plan's sections as far as they could be read, and their faults."""

    raw: Mapping[str, Any]
    base: dict[str, Any] = field(default_factory=dict)
    objectives: dict[str, Direction] = field(default_factory=dict)
    vary: dict[str, Domain] = field(default_factory=dict)
    search: SearchConfig = field(default_factory=SearchConfig)
    ablate: AblateConfig | None = None
    tasks: tuple[Any, ...] = ()
    seeds: tuple[int, ...] = ()
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    limits: dict[str, float] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _base_faults: list[Fault] = field(default_factory=list)

    def note(self, section: str, faults: Sequence[Fault]) -> None:
        """Keep faults whose paths start at `section`."""
        self.faults += [fault.under(section) for fault in faults]


def draft_plan(raw: Mapping[str, Any]) -> Draft:
    """Read every section of `raw`; the draft's faults say what keeps it from being a plan."""
    draft = Draft(raw)
    for key in raw:
        if key not in SECTIONS:
            hint = f"Did you mean 'base.{key}'?" if key in TrialSpec.model_fields else did_you_mean(key, SECTIONS)
            draft.faults.append(Fault(key, f"no such field. {hint}"))
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        rule = "must be up to 64 letters, digits, _ . and -, the first a letter or digit"
        draft.faults.append(Fault("name", f"{rule}; got {shown(name)}"))
    _read_small(draft)
    _read_tasks(draft)
    _read_base(draft)
    _read_vary(draft)
    _read_ablate(draft)
    _check_combination(draft)
    return draft


def _read_small(draft: Draft) -> None:
    draft.objectives, faults = parse_objectives(draft.raw.get("objective", {"retention": "max"}))
    draft.note("objective", faults)
    draft.warnings += objective_warnings(draft.objectives)
    draft.seeds, faults = parse_seeds(draft.raw.get("seeds", [0]))
    draft.note("seeds", faults)
    draft.limits, faults = parse_limits(draft.raw.get("limits", {}))
    draft.note("limits", faults)
    draft.search = _config(draft, "search", SearchConfig) or draft.search
    draft.note("search", search_faults(draft.search, draft.objectives))
    draft.cluster = _config(draft, "cluster", ClusterConfig) or draft.cluster


def _config(draft: Draft, section: str, model: type[C]) -> C | None:
    raw = draft.raw.get(section, {})
    try:
        return model.model_validate(raw)
    except ValidationError:
        draft.note(section, model_faults(model, raw))
        return None


def _read_tasks(draft: Draft) -> None:
    raw = draft.raw.get("tasks", [])
    if not isinstance(raw, list) or ("tasks" in draft.raw and not raw):
        draft.faults.append(Fault("tasks", f"must be a list of tasks, got {shown(raw)}"))
    elif len(raw) > _MOST_ENTRIES:
        draft.faults.append(Fault("tasks", f"at most {_MOST_ENTRIES}, got {len(raw)}"))
    else:
        draft.tasks = tuple(raw)


def _read_base(draft: Draft) -> None:
    raw = draft.raw.get("base")
    if not isinstance(raw, dict):
        what = "is missing: one complete trial" if raw is None else f"must be a mapping, got {shown(raw)}"
        draft.faults.append(Fault("base", what))
        return
    draft.base = {"task": draft.tasks[0], **raw} if draft.tasks else dict(raw)
    if "seed" in raw:
        draft.faults.append(Fault("base.seed", "seeds stand at the top of the plan: seeds: [0]"))
        del draft.base["seed"]
    draft._base_faults = trial_faults(draft.base)
    draft.note("base", draft._base_faults)
    for place, task in enumerate(draft.tasks):
        faults = laid_faults({"task": task}, draft.base, draft._base_faults)
        draft.faults += [Fault(fault.path.replace("task", f"tasks.{place}", 1), fault.what) for fault in faults]


def _read_vary(draft: Draft) -> None:
    if "vary" not in draft.raw:
        return
    raw = draft.raw["vary"]
    if isinstance(raw, dict) and not 0 < len(raw) <= _MOST_ENTRIES:
        draft.faults.append(Fault("vary", f"must name 1 to {_MOST_ENTRIES} paths, got {len(raw)}"))
        return
    draft.vary, faults = parse_vary(raw)
    draft.note("vary", faults)
    draft.vary, faults = ordered(draft.vary)
    draft.note("vary", faults)
    if draft.base and not faults:
        complete = None
        if not draft._base_faults:
            complete = TrialSpec.model_validate(draft.base).model_dump(mode="json")
        draft.note("vary", condition_faults(draft.vary, complete))
        values = value_faults(draft.vary, draft.base, draft._base_faults)
        draft.note("vary", values)
        if not (values or draft._base_faults or draft.search.sampler == "grid"):
            draft.note("vary", pair_faults(draft.vary, draft.base))


def _read_ablate(draft: Draft) -> None:
    if "ablate" not in draft.raw:
        return
    draft.ablate = _config(draft, "ablate", AblateConfig)
    if draft.ablate is None:
        return
    draft.note("ablate", draft.ablate.faults())
    for name, change in draft.ablate.factors.items():
        if not change:
            draft.faults.append(Fault(f"ablate.factors.{name}", "changes nothing: give it {path: value, ...}"))
        seeds = [path for path in change if within(path, "seed")]
        draft.faults += [Fault(f"ablate.factors.{name}.{path}", "a seed is no factor") for path in seeds]
        faults = laid_faults(change, draft.base, draft._base_faults) if draft.base and not seeds else []
        draft.note(f"ablate.factors.{name}", faults)


def _check_combination(draft: Draft) -> None:
    raw = draft.raw
    if "ablate" in raw:
        for other, why in (("vary", "a plan searches or ablates, not both"), ("search", "its cells are known")):
            if other in raw:
                draft.faults.append(Fault(other, f"does not go with ablate: {why}; leave it out"))
        if 0 < len(draft.seeds) < _FEW_SEEDS:
            count = f"{len(draft.seeds)} seed{'s' if len(draft.seeds) > 1 else ''}"
            draft.warnings.append(f"seeds: an ablation with {count} proves little; list {_FEW_SEEDS} or more")
    elif "vary" not in raw and "search" in raw:
        draft.faults.append(Fault("search", "has nothing to vary; add vary:, or leave search out"))
    if "vary" in raw and "tasks" in raw:
        draft.faults.append(Fault("tasks", "a search has one task; name it in base.task"))
    if draft.search.sampler != "grid":
        on_task = [path for path in draft.vary if within(path, "task")]
        draft.note("vary", [Fault(path, "results on different tasks do not compare") for path in on_task])
    labels = [task_label(task) for task in draft.tasks]
    twice = {label for label in labels if label is not None and labels.count(label) > 1}
    draft.faults += [Fault("tasks", f"{label} is given twice") for label in sorted(twice)]
    if draft.search.sampler == "grid":
        endless = [path for path, domain in draft.vary.items() if domain.grid() is None]
        draft.note("vary", [Fault(path, "a grid needs choices, whole numbers or a step") for path in endless])
    if draft.search.sampler == "gp" and any(domain.when for domain in draft.vary.values()):
        draft.warnings.append("search.sampler: gp draws parameters with a `when` at random; tpe models them")

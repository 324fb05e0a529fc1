"""Plan: a search, a grid, an ablation or a single configuration over seeds, read from strict YAML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from limbeck.beside import placed
from limbeck.config import content_hash
from limbeck.designs import AblateConfig, Cell, over_tasks, task_label
from limbeck.domains import MOST_CELLS, Domain
from limbeck.dotted import BlockedError, lay
from limbeck.drafting import Draft, draft_plan
from limbeck.errors import Problem, UserError
from limbeck.faults import Fault, shown, trial_faults
from limbeck.overrides import apply_overrides, parse_overrides
from limbeck.sections import ClusterConfig, Direction, SearchConfig
from limbeck.trial import TrialSpec
from limbeck.varying import active
from limbeck.yaml_strict import dump_yaml, load_yaml, mapping

Kind = Literal["search", "grid", "ablation", "single"]
_AROUND_THE_BASE = ("vary", "search", "ablate")
_FAULTY_CELLS_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """A checked plan: every value it can propose makes a valid trial."""

    name: str
    text: str
    """The file after overrides, as canonical YAML: `parse_plan(plan.text, ...)` gives the plan again."""
    base: dict[str, Any]
    """One trial as the file has it; defaults are not filled in."""
    kind: Kind
    objectives: dict[str, Direction]
    vary: dict[str, Domain]
    """Dotted path -> domain; whatever a `when` asks for stands before."""
    search: SearchConfig
    ablate: AblateConfig | None
    tasks: tuple[Any, ...]
    seeds: tuple[int, ...]
    cluster: ClusterConfig
    limits: dict[str, float]
    """Metric -> largest value; a configuration above it is refused before it trains."""
    warnings: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """The plan's name by content."""
        return content_hash(mapping(self.text, self.name))

    @property
    def task(self) -> str:
        """The base trial's task in a word, for lists."""
        return task_label(self.base["task"]) or "files"

    @property
    def trials(self) -> int:
        """Trials planned: configurations times seeds."""
        cells = self.search.trials if self.kind == "search" else len(self.cells())
        return cells * len(self.seeds)

    def active(self, path: str, values: Mapping[str, Any]) -> bool:
        """Say whether a varied parameter counts, given the values of those before it in `vary`."""
        return self.vary[path].when is None or active(self.vary, self.complete, path, values)

    @cached_property
    def complete(self) -> dict[str, Any]:
        """The base trial with every default filled in."""
        return TrialSpec.model_validate(self.base).model_dump(mode="json")

    def settle(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` without the varied parameters that do not count under them."""
        kept: dict[str, Any] = {}
        for path in self.vary:
            if path in values and self.active(path, kept):
                kept[path] = values[path]
        return {path: value for path, value in values.items() if path in kept or path not in self.vary}

    def spec(self, values: Mapping[str, Any], seed: int) -> TrialSpec:
        """Return the trial with `values` laid over the base. UserError where they make none."""
        values = self.settle(values)
        try:
            raw = lay(self.base, values)
            return TrialSpec.model_validate({**raw, "seed": seed})
        except BlockedError as error:
            raise UserError(Problem(self.name, str(error))) from None
        except ValidationError:
            shown_values = ", ".join(f"{path}={shown(value)}" for path, value in values.items())
            faults = [Fault(fault.path, f"{fault.what} (with {shown_values})") for fault in trial_faults(raw)]
            raise UserError(*_problems(self.name, faults)) from None

    def cells(self) -> list[Cell]:
        """Return the configurations known beforehand; none for a search, the base alone for a single trial."""
        if self.kind == "search":
            return []
        if self.kind == "grid":
            return _named(self._grid())
        cells = self.ablate.cells() if self.ablate else [Cell("base", {})]
        return over_tasks(cells, self.tasks)

    def _grid(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{}]
        for path, domain in self.vary.items():
            values = domain.grid() or []
            rows = [
                new
                for row in rows
                for new in ([{**row, path: value} for value in values] if self.active(path, row) else [row])
            ]
        return rows


def load_plan(path: Path, overrides: Sequence[str] = (), folder: Path | None = None) -> Plan:
    """Read and check a plan file, with `path=value` changes. UserError lists everything that is wrong with it.

    Relative paths of files, models and data sets are taken from `folder`, so that any process finds them.
    """
    return _checked(apply_overrides(_read(path), parse_overrides(overrides), str(path)), str(path), folder)


def load_base(path: Path, overrides: Sequence[str] = (), folder: Path | None = None) -> Plan:
    """Read a plan file's base trial alone, over the plan's seeds: what it varies, searches and ablates is left out.

    So are changes to these sections; and a change may set what the plan varies.
    """
    raw = {section: value for section, value in _read(path).items() if section not in _AROUND_THE_BASE}
    changes = [override for override in parse_overrides(overrides) if override.keys[0] not in _AROUND_THE_BASE]
    changed = apply_overrides(raw, changes, str(path))
    tasks = changed.pop("tasks", None)
    if isinstance(tasks, list) and tasks and isinstance(changed.get("base"), dict):
        changed["base"] = {"task": tasks[0], **changed["base"]}
    return _checked(changed, str(path), folder)


def parse_plan(text: str, where: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Plan:
    """Read and check a plan's text; `where` stands before its problems, and `folder` before relative paths."""
    return _checked(apply_overrides(mapping(text, where), parse_overrides(overrides), where), where, folder)


def _read(path: Path) -> dict[str, Any]:
    return {"name": path.stem, **load_yaml(path)}


def _problems(where: str, faults: Sequence[Fault]) -> list[Problem]:
    return [Problem(f"{where}: {fault.path}" if fault.path else where, fault.what) for fault in faults]


def _named(rows: Sequence[dict[str, Any]]) -> list[Cell]:
    """Return the cells of a grid under names of their own: long values are cut, and a name that is taken gets a hash.

    The first keeps the plain name, by which results that are stored already know it.
    """
    cells: dict[str, Cell] = {}
    for values in rows:
        name = " ".join(f"{path}={shown(value)}" for path, value in values.items())
        if name in cells:
            name = f"{name} {content_hash(values)}"
        cells[name] = Cell(name, values)
    return list(cells.values())


def _checked(raw: Mapping[str, Any], where: str, folder: Path | None) -> Plan:
    if folder is not None:
        raw = placed(raw, folder)
    draft = draft_plan({section: value for section, value in raw.items() if value is not None})
    if draft.faults:
        raise UserError(*_problems(where, draft.faults))
    plan = _plan(draft)
    if faults := _count_faults(plan) or _cell_faults(plan):
        raise UserError(*_problems(where, faults))
    return plan


def _plan(draft: Draft) -> Plan:
    kind: Kind = "ablation" if draft.ablate else "single"
    if draft.vary:
        kind = "grid" if draft.search.sampler == "grid" else "search"
    return Plan(
        name=draft.raw["name"],
        text=dump_yaml(dict(draft.raw)),
        base=draft.base,
        kind=kind,
        objectives=draft.objectives,
        vary=draft.vary,
        search=draft.search,
        ablate=draft.ablate,
        tasks=draft.tasks,
        seeds=draft.seeds,
        cluster=draft.cluster,
        limits=draft.limits,
        warnings=tuple(draft.warnings),
    )


def _count_faults(plan: Plan) -> list[Fault]:
    """Refuse a plan of too many cells before they are made."""
    if plan.kind == "grid":
        section, count = "vary", math.prod(len(domain.grid() or ()) for domain in plan.vary.values())
    elif plan.ablate is not None:
        section, count = "ablate", len(plan.cells())
    else:
        return []
    return [Fault(section, f"makes up to {count:,} cells; at most {MOST_CELLS:,}")] if count > MOST_CELLS else []


def _cell_faults(plan: Plan) -> list[Fault]:
    """Return the cells that make no valid trial, or the same trial as an earlier cell; the first few of them."""
    section = "vary" if plan.kind == "grid" else "ablate" if plan.ablate else "tasks"
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for cell in plan.cells():
        try:
            trial = plan.spec(cell.values, plan.seeds[0]).id
        except UserError as error:
            faults += [Fault(section, f"cell '{cell.name}': {problem.what}") for problem in error.problems]
        else:
            if trial in seen:
                faults.append(Fault(section, f"cell '{cell.name}' is the same trial as '{seen[trial]}'"))
            seen.setdefault(trial, cell.name)
        if len(faults) >= _FAULTY_CELLS_SHOWN:
            break
    return faults

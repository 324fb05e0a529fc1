"""What each part is worth: every cell of a sweep against its reference, on one task or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from limbeck.analysis.asked import REFERENCE, Asked, factorial_cells
from limbeck.analysis.evidence import Evidence, metric_cells, read_evidence, retention_cells, teacher_level
from limbeck.analysis.noise import power_of
from limbeck.analysis.runs import Group, check_budget, mean_seconds, missing_notes, read_groups
from limbeck.analysis.scores import Array, retained_over_tasks
from limbeck.compare import (
    AblationRow,
    Cell,
    DesignPower,
    EffectRow,
    McNemar,
    Resampling,
    ablation_table,
    factorial_effects,
    holm,
    make_cell,
    mcnemar,
)
from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.store import Reader, SweepRow

ALL_TASKS = "all tasks"
RETENTION = "retention"
MeasureName = Literal["retention", "metric"]


@dataclass(frozen=True)
class Question:
    """What to compare, and how finely."""

    split: str = "test"
    reference: str | None = None
    """The cell that the others are measured against; default: the ablation's."""
    measure: MeasureName = "retention"
    how: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True)
class Line:
    """One cell: the statistics, and what it cost."""

    row: AblationRow
    value: float | None
    """The task's metric; None over all tasks."""
    parameters: int | None
    seconds: float | None
    """Mean training time of a run."""


@dataclass(frozen=True)
class Section:
    """The cells on one task, or on all tasks together."""

    task: str
    measure: str
    """`retention`, or the metric's name where that is compared itself."""
    metric: str
    """The task's; empty over all tasks."""
    teacher: float | None
    """The teacher's metric."""
    examples: int | None
    """Test examples; None where runs are compared by one number each."""
    budget: str
    """What each run was given, in words."""
    lines: tuple[Line, ...]
    effects: tuple[EffectRow, ...] = ()
    """Main effects and interactions of a factorial design."""
    power: DesignPower | None = None
    mcnemar: Mapping[str, Mapping[int, McNemar]] = field(default_factory=dict)
    """Cell -> seed -> this student against the reference's of the same seed, where answers are right or wrong."""
    notes: tuple[str, ...] = ()
    """What is missing, and why; what could not be compared as asked."""


@dataclass(frozen=True)
class Ablation:
    """A sweep's cells compared."""

    sweep: SweepRow
    asked: Asked
    question: Question
    reference: str
    seeds: tuple[int, ...]
    sections: tuple[Section, ...]
    comparisons: int
    """p-values that Holm's adjustment is over: those of all sections."""


@dataclass(frozen=True)
class _Material:
    """The cells of a section before the statistics; over all tasks it belongs to no single group."""

    task: str
    measure: str
    cells: Sequence[Cell]
    group: Group | None = None
    evidence: Evidence | None = None
    budget: str = ""
    notes: tuple[str, ...] = ()


def ablation(reader: Reader, name: str, rng: np.random.Generator, question: Question | None = None) -> Ablation:
    """Compare a sweep's cells. UserError: a search, no complete trial, mixed fidelities, unknown split or reference.

    Seeds without a result stay missing: differences are over the seeds that a cell shares with the reference.
    """
    question = question or Question()
    sweep, asked, groups = read_groups(reader, name)
    if sweep.kind == "search":
        what = "a search compares nothing at equal terms; see `limbeck leaderboard`, and `limbeck confirm` its best"
        raise UserError(Problem(f"sweep {name}", what))
    reference = _reference(question, groups)
    budgets = [check_budget(group) for group in groups]
    materials = [_material(reader, name, *pair, question) for pair in zip(groups, budgets, strict=True)]
    materials += _together(materials, question.measure) if len(groups) > 1 else []
    sections = _compared(materials, reference, asked, rng, question.how)
    comparisons = sum(line.row.p is not None for section in sections for line in section.lines)
    powers = [power_of(material.cells, reference, comparisons) for material in materials]
    sections = [replace(section, power=power) for section, power in zip(sections, powers, strict=True)]
    seeds = tuple(sorted({seed for group in groups for seed in group.seeds}))
    return Ablation(sweep, asked, question, reference, seeds, tuple(sections), comparisons)


def cell_names(groups: Sequence[Group]) -> list[str]:
    """Return the cells of all tasks, in the order planned: any of them can be the reference."""
    return list(dict.fromkeys(cell for group in groups for cell in group.complete))


def usual_reference(names: Sequence[str]) -> str | None:
    """Return the cell that the others are measured against unless another is named; None where one must be named."""
    return REFERENCE if REFERENCE in names else names[0] if len(names) == 1 else None


def _reference(question: Question, groups: Sequence[Group]) -> str:
    names = cell_names(groups)
    wanted = question.reference or usual_reference(names)
    if wanted not in names:
        what = did_you_mean(wanted, names) if wanted else f"name one of the cells: {', '.join(names[:20])}"
        raise UserError(Problem(f"--reference {question.reference or ''}".strip(), what))
    return wanted


def _material(reader: Reader, name: str, group: Group, budget: str, question: Question) -> _Material:
    """Return a task's cells, by retention where that is asked and is a number."""
    evidence = read_evidence(reader, name, group, question.split)
    measure, cells = RETENTION, retention_cells(group, evidence) if question.measure == RETENTION else None
    notes = [*evidence.notes]
    if cells is None:
        measure, cells = evidence.metric, metric_cells(group, evidence)
        if question.measure == RETENTION:
            level = f"the teacher's {measure} is {teacher_level(evidence):.3g}, not above zero"
            notes.append(f"{level}: retention is no number, and {measure} is compared instead.")
    notes += missing_notes(group, cells)
    return _Material(group.task, measure, cells, group, evidence, budget, tuple(notes))


def _together(materials: Sequence[_Material], measure: MeasureName) -> list[_Material]:
    """Return cells over all tasks: Σ student / Σ teacher, or the mean of the metrics. Seeds must be on every task."""
    chosen = [m for m in materials if measure != RETENTION or m.measure == RETENTION]
    if len(chosen) < 2:
        return []
    known = [(m.evidence.students, m.evidence.teachers) for m in chosen if m.evidence]
    names = dict.fromkeys(cell.name for m in chosen for cell in m.cells)
    seeds = sorted({seed for m in chosen if m.group for seed in m.group.seeds})
    cells = []
    for name in names:
        runs: dict[int, Sequence[Array]] = {}
        for seed in seeds:
            if all((name, seed) in students for students, _ in known):
                students = [scores[name, seed] for scores, _ in known]
                teachers = [scores[name, seed] for _, scores in known]
                kept = retained_over_tasks(students, teachers) if measure == RETENTION else None
                runs[seed] = kept or students
        cells.append(make_cell(name, runs, seeds))
    title = RETENTION if measure == RETENTION else "mean of the tasks' metrics"
    left_out = [m.task for m in materials if m not in chosen]
    notes = (f"Without {', '.join(left_out)}, where retention is no number.",) if left_out else ()
    return [_Material(ALL_TASKS, title, cells, notes=notes)]


def _compared(
    materials: Sequence[_Material], reference: str, asked: Asked, rng: np.random.Generator, how: Resampling
) -> list[Section]:
    """Do the statistics; p-values are adjusted over the cells of all sections, and over the effects of all."""
    how = replace(how, draws=how.draws_for(sum(len(m.cells) - 1 for m in materials)))
    tables = [ablation_table(m.cells, reference, rng, how) for m in materials]
    effects = [_effects(asked, m.cells, rng, how) for m in materials]
    of_cells = iter(holm([row.p for table in tables for row in table]))
    of_effects = iter(holm([row.p for rows in effects for row in rows]))
    return [
        _section(
            material,
            [replace(row, p_adjusted=next(of_cells)) for row in table],
            [replace(row, p_adjusted=next(of_effects)) for row in rows],
            reference,
        )
        for material, table, rows in zip(materials, tables, effects, strict=True)
    ]


def _effects(asked: Asked, cells: Sequence[Cell], rng: np.random.Generator, how: Resampling) -> list[EffectRow]:
    design = asked.factorial()
    if design is None:
        return []
    by_name = {cell.name: cell for cell in cells}
    return factorial_effects(design, [by_name[name] for name in factorial_cells(design)], rng, how=how)


def _section(material: _Material, rows: Sequence[AblationRow], effects: Sequence[EffectRow], reference: str) -> Section:
    evidence = material.evidence
    return Section(
        task=material.task,
        measure=material.measure,
        metric=evidence.metric if evidence else "",
        teacher=teacher_level(evidence) if evidence else None,
        examples=evidence.examples if evidence else None,
        budget=material.budget,
        lines=tuple(_line(row, material) for row in rows),
        effects=tuple(effects),
        mcnemar=_mcnemar(material, reference),
        notes=material.notes,
    )


def _line(row: AblationRow, material: _Material) -> Line:
    if all(cell.sizes == (1,) for cell in material.cells if cell.seeds):
        # One number of one run has no spread: its interval would be a point.
        if row.n_seeds == 1:
            row = replace(row, low=None, high=None)
        if row.n_pairs == 1:
            row = replace(row, difference_low=None, difference_high=None)
    if material.group is None or material.evidence is None:
        return Line(row, None, None, None)
    trials = material.group.complete[row.cell]
    known = (material.evidence.students.get((row.cell, seed)) for seed in trials)
    scores = [found for found in known if found is not None]
    value = float(np.mean([one.mean(dtype=np.float64) for one in scores])) if scores else None
    parameters = next((trial.parameters for trial in trials.values() if trial.parameters is not None), None)
    return Line(row, value, parameters, mean_seconds(list(trials.values())))


def _mcnemar(material: _Material, reference: str) -> dict[str, dict[int, McNemar]]:
    evidence = material.evidence
    if evidence is None or not evidence.by_example or evidence.metric != "accuracy":
        return {}
    out: dict[str, dict[int, McNemar]] = {}
    for cell in material.cells:
        shared = [seed for seed in cell.seeds if (reference, seed) in evidence.students]
        if cell.name != reference and shared:
            ours, theirs = (np.stack([evidence.students[name, s] for s in shared]) for name in (cell.name, reference))
            out[cell.name] = dict(zip(shared, mcnemar(ours, theirs), strict=True))
    return out

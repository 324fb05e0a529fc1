"""An ablation as tables: every number for scripts, and what a reader of a paper needs."""

from typing import Any

from limbeck.analysis import words
from limbeck.analysis.ablation import ALL_TASKS, RETENTION, Ablation, Line, Section
from limbeck.analysis.noise import power_notes
from limbeck.compare import McNemar
from limbeck.report import Column, Table

_RAW = (
    Column("task"),
    Column("cell"),
    Column("measure"),
    Column("n_seeds"),
    Column("missing_seeds"),
    Column("n_examples"),
    Column("mean"),
    Column("low"),
    Column("high"),
    Column("n_pairs"),
    Column("difference"),
    Column("difference_low"),
    Column("difference_high"),
    Column("effect_size"),
    Column("p"),
    Column("p_adjusted"),
    Column("probability_of_improvement"),
    Column("metric"),
    Column("value"),
    Column("teacher"),
    Column("parameters"),
    Column("seconds"),
)
_COLUMNS_TOLD = (
    "d_z: Cohen's effect size of the differences paired by seed; P(better): probability of improvement, that a run "
    "beats one of the reference."
)


def raw_cells(found: Ablation) -> Table:
    """Return every number of every cell."""
    rows = [_raw(section, line) for section in found.sections for line in section.lines]
    return Table(_RAW, tuple(rows))


def _raw(section: Section, line: Line) -> tuple[Any, ...]:
    row = line.row
    return (
        *(section.task, row.cell, section.measure, row.n_seeds, list(row.missing_seeds), section.examples),
        *(row.mean, row.low, row.high, row.n_pairs, row.difference, row.difference_low, row.difference_high),
        *(row.effect_size, row.p, row.p_adjusted, row.probability_of_improvement),
        *(section.metric or None, line.value, section.teacher, line.parameters, line.seconds),
    )


def raw_effects(found: Ablation) -> Table:
    """Return every number of a factorial design's effects."""
    names = ("task", "term", "aliases", "n_seeds", "estimate", "low", "high", "effect_size", "p", "p_adjusted")
    rows = [
        (section.task, e.term, list(e.aliases), e.n_seeds, e.estimate, e.low, e.high, e.effect_size, e.p, e.p_adjusted)
        for section in found.sections
        for e in section.effects
    ]
    return Table(tuple(map(Column, names)), tuple(rows))


def raw_mcnemar(found: Ablation) -> Table:
    """Return the test of every seed's student against the reference's."""
    names = ("task", "cell", "seed", "only_first", "only_second", "p")
    rows = [
        (section.task, cell, seed, test.only_first, test.only_second, test.p)
        for section in found.sections
        for cell, seeds in section.mcnemar.items()
        for seed, test in seeds.items()
    ]
    return Table(tuple(map(Column, names)), tuple(rows))


def mcnemar_tables(found: Ablation) -> list[Table]:
    """Return McNemar's test seed by seed for people, a table a task; nothing where answers are not right or wrong."""
    return [_mcnemar_table(found, section) for section in found.sections if section.mcnemar]


def _mcnemar_table(found: Ablation, section: Section) -> Table:
    seeds = sorted({seed for tests in section.mcnemar.values() for seed in tests})
    columns = (Column("cell", "configuration"), *(Column(f"seed_{seed}", f"seed {seed}") for seed in seeds))
    rows = tuple(
        (cell, *(_won(tests[seed]) if seed in tests else None for seed in seeds))
        for cell, tests in section.mcnemar.items()
    )
    n = words.many(section.examples or 0, "test example")
    told = (
        f"{found.sweep.name} on {section.task} ({found.question.split}): of {n}, those that each seed's student has "
        f"right and that of '{found.reference}' wrong : the other way round; two-sided exact McNemar test, p not "
        "adjusted."
    )
    return Table(columns, rows, told)


def _won(test: McNemar) -> str:
    return f"{test.only_first} : {test.only_second} (p {words.p_value(test.p)})"


def as_json(found: Ablation) -> dict[str, Any]:
    """Return what is known of the whole ablation as JSON types, without the tables."""
    power = [
        {
            "task": section.task,
            "difference": section.power.difference,
            "alpha": section.power.alpha,
            "power": section.power.power,
            "seeds": section.power.seeds,
        }
        for section in found.sections
        if section.power
    ]
    return {
        "sweep": found.sweep.name,
        "design": found.asked.design,
        "split": found.question.split,
        "reference": found.reference,
        "seeds": list(found.seeds),
        "comparisons": found.comparisons,
        "correction": "holm",
        "level": found.question.how.level,
        "budgets": {section.task: section.budget for section in found.sections if section.budget},
        "power": power,
        "captions": {section.task: caption(found, section) for section in found.sections},
        "notes": {section.task: list(section.notes) for section in found.sections if section.notes},
    }


def cells_tables(found: Ablation) -> list[Table]:
    """Return the cells for people, a table a task: best mean in bold, differences with marks of significance."""
    return [_cells_table(found, section) for section in found.sections]


def _cells_table(found: Ablation, section: Section) -> Table:
    beside = section.measure == RETENTION and section.metric != ""
    columns = (
        Column("cell", "configuration"),
        Column("seeds"),
        *((Column("value", section.metric, "percent"),) if beside else ()),
        Column("mean", section.measure, "percent", best="max"),
        Column("interval", f"{_level(found)} interval"),
        Column("difference", "difference (points)"),
        Column("difference_interval", f"{_level(found)} interval"),
        Column("effect_size", "d_z", "number", digits=2, signed=True),
        Column("p_adjusted", "adjusted p"),
        Column("probability_of_improvement", "P(better)", "percent", digits=0),
        *((Column("parameters", kind="count"), Column("seconds", "training", "duration")) if section.metric else ()),
    )
    rows = [_shown(line, beside=beside, cost=section.metric != "") for line in section.lines]
    return Table(columns, tuple(rows), caption(found, section), _notes(found, section))


def _shown(line: Line, *, beside: bool, cost: bool) -> tuple[Any, ...]:
    row = line.row
    planned = row.n_seeds + len(row.missing_seeds)
    return (
        row.cell,
        f"{row.n_seeds} of {planned}" if row.missing_seeds else str(row.n_seeds),
        *((line.value,) if beside else ()),
        row.mean,
        words.percent_interval(row.low, row.high),
        words.marked(row.difference, row.p_adjusted),
        words.points_interval(row.difference_low, row.difference_high),
        row.effect_size,
        words.p_value(row.p_adjusted),
        row.probability_of_improvement,
        *((line.parameters, line.seconds) if cost else ()),
    )


def effects_tables(found: Ablation) -> list[Table]:
    """Return a factorial design's effects for people, a table a task; nothing for other designs."""
    return [_effects_table(found, section) for section in found.sections if section.effects]


def _effects_table(found: Ablation, section: Section) -> Table:
    columns = (
        Column("term", "effect of"),
        Column("aliases", "not told from"),
        Column("seeds", kind="number"),
        Column("estimate", "effect (points)"),
        Column("interval", f"{_level(found)} interval"),
        Column("effect_size", "d_z", "number", digits=2, signed=True),
        Column("p_adjusted", "adjusted p"),
    )
    rows = tuple(
        (
            *(e.term, ", ".join(e.aliases) or None, e.n_seeds, words.marked(e.estimate, e.p_adjusted)),
            *(words.points_interval(e.low, e.high), e.effect_size, words.p_value(e.p_adjusted)),
        )
        for e in section.effects
    )
    gaps = section.effects[0].missing
    notes = [f"Effects are over the seeds that every cell has; missing: {', '.join(gaps)}."] if gaps else []
    return Table(columns, rows, effects_caption(found, section), (*notes, words.MARKS_TOLD))


def caption(found: Ablation, section: Section) -> str:
    """Return what the table is of: design, budget, n, test and correction."""
    head = f"{found.sweep.name} on {section.task} ({found.question.split})"
    design = f", {found.asked.design}" if found.asked.design else ""
    equal = f", {section.budget} a run" if section.budget else ""
    n = f"n = {words.many(len(found.seeds), 'seed')}"
    if section.examples:
        n += f" × {words.many(section.examples, 'test example')}"
    by_example = bool(section.examples) or section.task == ALL_TASKS
    by = "seed and example" if by_example else "seed"
    over = words.resampled(max(line.row.n_seeds for line in section.lines), by_example=by_example)
    base = f"{head}{design}{equal}; {n}; {_level(found)} bootstrap intervals over {over}"
    if not found.comparisons:
        return f"{base}."
    return (
        f"{base}; differences to '{found.reference}' paired by {by}, two-sided permutation test, "
        f"Holm's correction over {words.many(found.comparisons, 'comparison')}."
    )


def effects_caption(found: Ablation, section: Section) -> str:
    """Return what the table of effects is of."""
    count = sum(e.p is not None for section in found.sections for e in section.effects)
    design = found.asked.factorial()
    cells = f"fraction of resolution {design.resolution}" if design and design.resolution else "full factorial design"
    return (
        f"{found.sweep.name} on {section.task} ({found.question.split}), {cells}: effects on {section.measure}, each "
        f"the mean of the cells with the factor less the mean of those without; n = "
        f"{words.many(len(found.seeds), 'seed')}; "
        f"{_level(found)} bootstrap intervals; two-sided paired permutation test, Holm's correction over "
        f"{words.many(count, 'effect')}."
    )


def _notes(found: Ablation, section: Section) -> tuple[str, ...]:
    notes = [words.MARKS_TOLD, _COLUMNS_TOLD] if found.comparisons else []
    alone = [line.row.cell for line in section.lines if line.row.n_seeds == 1]
    if alone and len(found.seeds) > 1:
        notes.append(f"One seed, so that intervals are over examples alone and nothing is tested: {', '.join(alone)}.")
    if section.power is not None:
        notes += power_notes(section.power, section.measure)
    if section.teacher is not None:
        notes.append(f"Teacher: {section.metric} {words.percent(section.teacher)} %.")
    return (*notes, *section.notes)


def _level(found: Ablation) -> str:
    return f"{100 * found.question.how.level:g} %"

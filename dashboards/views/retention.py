"""What students keep of their teachers: by task, method, size and test set, with intervals."""

import numpy as np
import streamlit as st

import data
import links
import states
import widgets
import words
from charts import forest
from limbeck.compare import ScalingCurve, scaling_curve
from limbeck.report import Column, Table
from limbeck.store import SweepRow
from students import Student, best_students

SHOWN_AT_FIRST = 5
STUDENTS_MOST = 60


@st.cache_resource(show_spinner="Resampling seeds and examples…", max_entries=16)
def _students(url: str, versions: tuple[tuple[str, str], ...], _sweeps: list[SweepRow]) -> list[Student]:
    return best_students(_sweeps)


def line(student: Student, split: str) -> forest.Line:
    """A student on a test set as a line of the chart."""
    link = links.pair(student.sweep.name, student.trials[0]) if student.trials else None
    kept = student.kept.get(split)
    if kept is None:
        return forest.Line(student.label, None, None, None, note="not measured", series=student.method, link=link)
    best = f", best of {student.chosen_from} configurations" if student.chosen_from > 1 else ""
    ends = (kept.interval.mean, kept.interval.low, kept.interval.high)
    return forest.Line(student.label, *ends, note=f"{kept.told}{best}", series=student.method, link=link)


def table(students: list[Student], splits: list[str]) -> Table:
    """The page as a table: intervals beside the means."""
    columns = [Column("task"), Column("method"), Column("layers", kind="number"), Column("parameters", kind="count")]
    columns += [Column("sweep"), Column("configuration"), Column("seeds", kind="number")]
    for split in splits:
        columns += [
            Column(f"{split}/retention", f"{split} retention", "percent", best="max"),
            Column(f"{split}/low", "low", "percent"),
            Column(f"{split}/high", "high", "percent"),
        ]
    rows = []
    for s in students:
        row: list[object] = [s.task, s.method, s.layers, s.parameters, s.sweep.name, s.cell, len(s.trials)]
        for split in splits:
            kept = s.kept.get(split)
            row += [kept.interval.mean, kept.interval.low, kept.interval.high] if kept else [None] * 3
        rows.append(tuple(row))
    notes = ("Retention: the student's metric over the teacher's, with 95 % intervals.",)
    return Table(tuple(columns), tuple(rows), "What students keep of their teachers", notes)


def curve_view(students: list[Student], split: str) -> None:
    """Retention against size, a line for every method with enough points."""
    points: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for student in students:
        values = student.kept[split].seed_values if split in student.kept else np.empty(0)
        sizes, known = points.get(student.method, (np.empty(0), np.empty(0)))
        grown = np.append(sizes, np.full(len(values), student.size))
        points[student.method] = (grown, np.append(known, values))
    points = {name: (x, y) for name, (x, y) in points.items() if len(x)}
    curves: dict[str, ScalingCurve] = {}
    for name, (x, y) in points.items():
        if len(y) >= 3 and len(np.unique(x)) >= 2 and (x > 0).all():
            curves[name] = scaling_curve(x, y)
    if len({size for sizes, _ in points.values() for size in sizes.tolist()}) < 2:
        advice = (
            "This needs students of two sizes or more: vary `student.layers` in a plan, or choose more sweeps above."
        )
        states.empty("No sizes to compare yet", advice)
        return
    figure = forest.scaling(points, curves, "parameters without embeddings")
    widgets.show_chart(figure, "scaling", "Retention against size")
    told = [f"{words.literal(name)}: {growth(found)}" for name, found in curves.items()]
    if told:
        st.caption("  \n".join(told))


def growth(found: ScalingCurve) -> str:
    """Return a fitted line in words."""
    ends = f"{words.signed(found.slope_low)} to {words.signed(found.slope_high)}"
    text = f"{words.signed(found.slope)} points for ten times the size (95 %: {ends})."
    if found.lack_of_fit_p is not None and found.lack_of_fit_p < 0.05:
        text += f" A straight line does not fit (p {words.p_value(found.lack_of_fit_p)})."
    return text


def page() -> None:
    sweeps = [s for s in data.sweeps() if s.counts.get("complete")]
    if not sweeps:
        states.empty("No complete trials yet", "Retention is measured when a trial ends.", "limbeck sweep quickstart")
        return
    by_name = {s.name: s for s in sweeps}
    names = list(by_name)
    default = names[:SHOWN_AT_FIRST]
    chosen = st.multiselect("Sweeps", names, key=links.prepare_many("sweeps", names, default))
    links.keep_many("sweeps", chosen, default)
    rows = [by_name[name] for name in chosen]
    students = _students(data.database(), tuple((row.name, data.version(row)) for row in rows), rows)
    if not students:
        states.empty("Nothing chosen", "Choose one sweep or more above.")
        return
    tasks = list(dict.fromkeys(s.task for s in students))
    if len(tasks) > 1:
        task = widgets.pick_one("task", "Task", tasks)
        students = [s for s in students if s.task == task]
    if len(students) > STUDENTS_MOST:
        st.caption(f"The {STUDENTS_MOST} smallest of {len(students)} students are shown; choose fewer sweeps.")
        students = students[:STUDENTS_MOST]
    splits = list(dict.fromkeys(split for s in students for split in s.kept))
    st.subheader("Students against their teacher", anchor=False)
    panels = {split: [line(s, split) for s in students] for split in splits}
    chosen_student = widgets.pick_point(forest.retentions(panels), "retention", "Retention, student by student")
    if chosen_student is not None:
        links.open_trial(*links.parted(chosen_student))
    st.caption(
        "Of every method and size the configuration that retains most on the selection split, whatever its sweep "
        "optimises, measured on the test sets; the dotted line is the teacher. The best of many flatters: "
        "`limbeck confirm` re-runs it on fresh seeds."
    )
    st.subheader("Growth with size", anchor=False)
    split = splits[0] if len(splits) == 1 else widgets.pick_one("split", "Test set", splits)
    curve_view(students, split)
    widgets.downloads(table(students, splits), "retention")


page()

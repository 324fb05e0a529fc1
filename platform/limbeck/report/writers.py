"""A table in the forms that terminals, scripts, spreadsheets, web pages and papers read."""

import csv
import html
import io
import json
import math
import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from limbeck.report.table import NOTHING, Cell, Column, Table, best_rows, show
from limbeck.store.values import plain


def to_json(table: Table) -> str:
    """Return a JSON list of objects, one a row, raw values by column key; what is not finite is null."""
    keys = [column.key for column in table.columns]
    rows = [dict(zip(keys, map(plain, row), strict=True)) for row in table.rows]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False)


def to_csv(table: Table) -> str:
    """Return CSV of raw values under the column keys. Text that a spreadsheet would run as a formula is quoted by '."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_harmless(column.key) for column in table.columns])
    writer.writerows([[_csv_cell(value) for value in row] for row in table.rows])
    return out.getvalue()


def _csv_cell(value: Cell) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return value
    return _harmless(json.dumps(value) if isinstance(value, (list, tuple, dict)) else str(value))


def _harmless(text: str) -> str:
    # The csv module leaves a bare carriage return unquoted, and readers would begin a row there.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Spreadsheets take a cell for a formula by its first character, some after skipping blanks.
    if text.lstrip()[:1] not in ("=", "+", "-", "@") and text[:1] != "\t":
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def to_markdown(table: Table) -> str:
    """Return a GitHub-flavoured Markdown table, best values in bold."""
    rows = [[_markdown(text) for text in row] for row in _shown(table)]
    for place in range(len(table.columns)):
        for i in best_rows(table, place):
            rows[i][place] = f"**{rows[i][place]}**"
    head = [_markdown(column.heading) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    caption = [f"**{_markdown(table.caption)}**", ""] if table.caption else []
    notes = [line for note in table.notes for line in ("", _markdown(note))]
    return "\n".join([*caption, *lines, *notes]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*|\[\]]|\b_|_\b)", r"\\\1", html.escape(" ".join(text.split()), quote=False))


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}", '"': r"\textquotedbl{}", "–": "--", "—": "---", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
    }
)  # fmt: skip
_SCIENTIFIC = re.compile(r"^([+−]?)([\d.]+)e([+-])0*(\d+)$")
_MARKED = re.compile(r"^([+−]?)([\d.]+) (\*+|n\.s\.)$")
"""A number with its mark of significance."""
_WIDE = 7
"""Columns above which a table spans both columns of a page that has two."""


def to_latex(table: Table, *, label: str = "") -> str:
    """Return a LaTeX table in the style of booktabs, no wider than the page: text escaped, best values in bold."""
    rows = [[_latex_cell(t, c) for t, c in zip(row, table.columns, strict=True)] for row in _shown(table)]
    for place in range(len(table.columns)):
        for i in best_rows(table, place):
            rows[i][place] = rf"\textbf{{{rows[i][place]}}}"
    head = [_latex(column.heading) for column in table.columns]
    places = "".join("r" if column.numeric else "l" for column in table.columns)
    float_ = "table*" if len(table.columns) > _WIDE else "table"
    above = [r"% \usepackage{booktabs,graphicx}", rf"\begin{{{float_}}}", r"\centering"]
    above += [rf"\caption{{{_latex(table.caption)}}}"] if table.caption else []
    above += [rf"\label{{{label}}}"] if label else []
    above += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"]
    above += [rf"\begin{{tabular}}{{{places}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    below = [r"\bottomrule", r"\end{tabular}}"]
    if table.notes:
        notes = [rf"{_latex(note)}\par" for note in table.notes]
        below += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}"]
    return "\n".join([*above, *(" & ".join(row) + r" \\" for row in rows), *below, rf"\end{{{float_}}}"]) + "\n"


def _latex(text: str) -> str:
    escaped = re.sub(r"(^|[\s(])'", r"\1`", " ".join(text.split())).translate(_LATEX)
    return re.sub(r"\bd\\_z\b", "$d_z$", escaped)


def _latex_cell(text: str, column: Column) -> str:
    if found := _MARKED.match(text):
        sign, digits, mark = found.groups()
        raised = mark if mark[0] == "*" else rf"\mathrm{{{mark}}}"
        return f"${_ascii(sign)}{digits}^{{{raised}}}$"
    if not column.numeric or text == NOTHING:
        return _latex(text)
    if found := _SCIENTIFIC.match(text):
        sign, digits, way, power = found.groups()
        return rf"${_ascii(sign)}{digits}\times10^{{{'-' if way == '-' else ''}{power}}}$"
    escaped = _latex(text).replace(" ", r"\,")
    return f"$+${escaped[1:]}" if escaped[:1] == "+" else escaped


def _ascii(sign: str) -> str:
    return "-" if sign == "−" else sign


def to_table(table: Table) -> RichTable:
    """Return a table for the terminal, best values in bold; where it is narrow headings wrap and long text is cut."""
    caption = Text("\n".join(table.notes), justify="left") if table.notes else None
    title = Text(table.caption, justify="left") if table.caption else None
    out = RichTable(title=title, caption=caption, header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rows = _shown(table)
    for place, column in enumerate(table.columns):
        longest = max((len(row[place]) for row in rows), default=0)
        least = longest if column.numeric else min(longest, 12)
        heading = Text(column.heading, justify="right" if column.numeric else "left")
        out.add_column(heading, justify="right" if column.numeric else "left", min_width=least, overflow="fold")
    best = [best_rows(table, place) for place in range(len(table.columns))]
    for i, row in enumerate(rows):
        # Text objects, not strings: brackets in a value are no markup.
        out.add_row(*(Text(cell, style="bold" if i in best[place] else "") for place, cell in enumerate(row)))
    return out


def to_text(table: Table) -> str:
    """Return what the terminal shows, plain and as wide as it needs: for files and pipes, where nothing may be cut."""
    out = io.StringIO()
    rich = to_table(table)
    narrow = Console(file=out, width=80, color_system=None)
    wide = narrow.options.update(width=10_000)
    needed = rich.__rich_measure__(narrow, wide).maximum
    Console(file=out, width=max(80, needed), color_system=None).print(rich)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _shown(table: Table) -> list[list[str]]:
    return [[show(value, column) for value, column in zip(row, table.columns, strict=True)] for row in table.rows]

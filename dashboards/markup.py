"""Numbers and small tables as HTML: a browser shows them at once, where a grid that sorts brings a megabyte of program.

Text comes from data: every word is escaped, and what is written here is the only markup there is.
"""

from collections.abc import Iterable, Sequence
from html import escape

import streamlit as st

from palette import FAINT

HEIGHT_MOST = 600
"""Of a table in pixels, before it scrolls."""
_CARDS = "display:flex;flex-wrap:wrap;gap:.75rem;margin:0;padding:0"
_CARD = f"flex:1 1 8.5rem;border:1px solid {FAINT};border-radius:.5rem;padding:.6rem .9rem;overflow-wrap:anywhere"
_NAME, _NUMBER = "font-size:.85rem;opacity:.8", "margin:0;font-size:1.6rem;line-height:1.4"
_SCROLLED = f"overflow:auto;max-height:{HEIGHT_MOST}px"
_TABLE = "border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums"
_CELL = f"padding:.3rem .8rem;border-bottom:1px solid {FAINT};text-align:"


def numbers(named: Iterable[tuple[str, str]]) -> None:
    """Show what a page is about in a few numbers, each with its name."""
    cards = (
        f'<div style="{_CARD}"><dt style="{_NAME}">{escape(name)}</dt><dd style="{_NUMBER}">{escape(number)}</dd></div>'
        for name, number in named
    )
    st.html(f'<dl style="{_CARDS}">{"".join(cards)}</dl>')


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], alt: str, right: Sequence[bool] = ()) -> str:
    """Return a table; columns of numbers stand on the right."""
    sides = ["right" if flag else "left" for flag in right] or ["left"] * len(heads)
    top = _line("th", heads, sides)
    body = "".join(_line("td", row, sides) for row in rows)
    grid = f'<table style="{_TABLE}" aria-label="{escape(alt)}"><thead>{top}</thead><tbody>{body}</tbody></table>'
    return f'<div style="{_SCROLLED}">{grid}</div>'


def _line(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    shown = (
        f'<{tag}{scope} style="{_CELL}{side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(shown)}</tr>"

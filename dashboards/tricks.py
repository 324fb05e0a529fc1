"""What the method made up, as text with the replaced tokens marked.

Tokens come from data and from a model: every one is escaped, and the marks are the only markup there is.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import markup
from palette import ALARM, SERIES

_SPECIALS = ("[CLS]", "[SEP]", "[PAD]", "<s>", "</s>", "<pad>")
_OLD = f"border-bottom:2px solid {SERIES[3]};opacity:.75;text-decoration:line-through"
_NEW = f"border-bottom:2px solid {ALARM};font-weight:700"


def pieces(tokens: Sequence[str]) -> list[tuple[str, bool, int]]:
    """Return (text, whether a space stands before it, place) of each token that is a word or a part of one."""
    out: list[tuple[str, bool, int]] = []
    byte_pairs = any(token.startswith(("Ġ", "▁")) for token in tokens)
    for place, token in enumerate(tokens):
        if token in _SPECIALS:
            continue
        if token.startswith("##"):
            out.append((token[2:], False, place))
        elif token.startswith(("Ġ", "▁")):
            out.append((token[1:], True, place))
        else:
            out.append((token, not byte_pairs, place))
    return out


def marked(tokens: Sequence[str], changed: Sequence[int], new: bool) -> str:
    """Return HTML in which the changed tokens are marked; everything else of it is escaped text."""
    places = set(changed)
    word = "inserted" if new else "replaced"
    parts = []
    for text, space, place in pieces(tokens):
        safe = html.escape(text, quote=True)
        if place in places:
            safe = f'<mark title="{word}" style="background:none;color:inherit;{_NEW if new else _OLD}">{safe}</mark>'
        parts.append((" " if space else "") + safe)
    return "".join(parts).strip()


def pair(row: Mapping[str, Any]) -> str:
    """Return a pair of texts, the original above what was made of it."""
    old, new = strings(row.get("original")), strings(row.get("invented"))
    places = [p for p in row.get("changed") or () if isinstance(p, int)]
    differs = [p for p in places if p < min(len(old), len(new)) and old[p] != new[p]]
    style = "font-size:1rem;line-height:1.7;overflow-wrap:anywhere"
    return (
        f'<div style="{style}"><div><small>original</small><br>{marked(old, differs, False)}</div>'
        f"<div><small>made up</small><br>{marked(new, differs, True)}</div></div>"
    )


def strings(tokens: Any) -> list[str]:
    """Return tokens as words whatever was stored."""
    return [str(token) for token in tokens] if isinstance(tokens, list) else []


def said(row: Mapping[str, Any], classes: Sequence[str]) -> list[dict[str, object]]:
    """Return one line a network and class: probability before and after; nothing for a regression."""
    out: list[dict[str, object]] = []
    for who in ("teacher", "student"):
        before, after = row.get(f"{who}_before") or [], row.get(f"{who}_after") or []
        if len(before) < 2 or len(before) != len(after):
            continue
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            name = classes[place] if place < len(classes) else f"class {place}"
            out.append({"network": who, "class": name, "before": 100 * old, "after": 100 * new})
    return out


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what `said` returns as HTML."""
    rows = [
        [str(one["network"]), str(one["class"]), f"{one['before']:.0f} %", f"{one['after']:.0f} %"] for one in lines
    ]
    return markup.table(["network", "class", "before", "after"], rows, "Probabilities", [False, False, True, True])


def flips(row: Mapping[str, Any], who: str) -> bool:
    """Say whether a network changes its mind between the two texts."""
    before, after = row.get(f"{who}_before") or [0.0], row.get(f"{who}_after") or [0.0]
    return max(range(len(before)), key=before.__getitem__) != max(range(len(after)), key=after.__getitem__)

"""YAML 1.2 without its traps: `1e-4` is a number, `no` is text, and nothing is dropped, merged or called silently."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from limbeck.errors import Problem, UserError

LARGEST_BYTES = 1_000_000
DEEPEST = 32
LONGEST_KEY = 200
MOST_PROBLEMS = 20

_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


class _UnfitError(ValueError):
    """A scalar that no plan can hold."""


def load_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in the YAML file at `path`; UserError with file and line when it is not strict YAML 1.2."""
    name = str(path)
    try:
        if not path.is_file():
            raise UserError(Problem(name, "not a file" if path.exists() else "no such file"))
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(Problem(name, f"larger than {LARGEST_BYTES:,} bytes"))
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(Problem(name, f"not UTF-8 text (byte {error.start})")) from None
    except (OSError, ValueError) as error:
        raise UserError(Problem(name, f"cannot be read: {error}")) from None
    return mapping(text, name)


def mapping(text: str, name: str) -> dict[str, Any]:
    """Read YAML text that must hold a mapping; `name` stands before the line number in errors."""
    value = parse_yaml(text, name)
    if not isinstance(value, dict):
        raise UserError(Problem(name, f"must hold `key: value` lines, got {described(value)}"))
    return value


def parse_yaml(text: str, name: str) -> Any:
    """Read one YAML value made of mappings with text keys, lists, text, numbers, true, false and null."""
    if len(text) > LARGEST_BYTES:
        raise UserError(Problem(name, f"larger than {LARGEST_BYTES:,} bytes"))
    builder = _Builder(name)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except YAMLError as error:
        builder.problems.append(_syntax(error, text, name))
    except (ValueError, OverflowError) as error:
        builder.problems.append(Problem(name, f"not YAML: {error}"))
    if builder.problems:
        raise UserError(*builder.problems)
    return builder.root


def described(value: Any) -> str:
    """Return a short word for what a YAML value is."""
    if value is None:
        return "nothing"
    kinds: dict[type[Any], str] = {dict: "a mapping", list: "a list", str: "text"}
    return kinds.get(type(value)) or dump_scalar(value)


class _Builder:
    """Turns parser events into values, without recursion, and notes every problem with its line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = None
        self.problems: list[Problem] = []
        self._documents = 0
        self._open: list[tuple[dict[str, Any] | list[Any], str | None]] = []
        self._key: str | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self._document(event)
        elif isinstance(event, AliasEvent):
            self._refuse(event, f"aliases (*{event.anchor}) are not allowed: write the value out")
            self._place(event, None)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._key = self._open.pop()[1]
        elif isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            self._node(event)

    def _refuse(self, event: Event, what: str) -> None:
        self.problems.append(Problem(f"{self.name}:{event.start_mark.line + 1}", what))
        if len(self.problems) == MOST_PROBLEMS:
            raise UserError(*self.problems)

    def _document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            self._refuse(event, "a second document (`---`); one file holds one")
        if event.version is not None and tuple(event.version) != (1, 2):
            self._refuse(event, "only YAML 1.2 is read; take the %YAML line out")

    def _node(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self._refuse(event, f"anchors (&{event.anchor}) are not allowed: write the value out")
        if event.tag is not None:
            self._refuse(event, f"tags ({event.tag}) are not allowed")
        if isinstance(event, ScalarEvent):
            self._place(event, self._scalar(event))
            return
        if len(self._open) >= DEEPEST:
            self._refuse(event, f"nested more than {DEEPEST} deep")
            raise UserError(*self.problems)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        self._place(event, value)
        self._open.append((value, self._key))
        self._key = None

    def _scalar(self, event: ScalarEvent) -> Any:
        try:
            return resolve(event.value) if event.style is None else _text(event.value)
        except _UnfitError as error:
            self._refuse(event, str(error))
            return None

    def _place(self, event: Event, value: Any) -> None:
        """Put a value into the innermost open collection; in a mapping it may be a key."""
        if not self._open:
            self.root = value
            return
        holder = self._open[-1][0]
        if isinstance(holder, list):
            holder.append(value)
        elif self._key is None:
            self._key = self._as_key(event, holder, value)
        else:
            holder[self._key] = value
            self._key = None

    def _as_key(self, event: Event, holder: dict[str, Any], value: Any) -> str:
        if not isinstance(value, str):
            self._refuse(event, f"a key must be text, got {described(value)}; put it in quotes")
        elif value == "<<":
            self._refuse(event, "merge keys (<<) are not allowed: write the values out")
        elif len(value) > LONGEST_KEY:
            self._refuse(event, f"a key of more than {LONGEST_KEY} characters")
        elif value in holder:
            self._refuse(event, f"'{value}' is given twice")
        return value if isinstance(value, str) else ""


def resolve(text: str) -> Any:
    """Return the value of an unquoted YAML 1.2 scalar (core schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or abs(int(text)) >= 1 << 63:
            raise _UnfitError(f"{text[:20]}… does not fit into 64 bits")
        return int(text)
    if _BASED.fullmatch(text):
        if len(text) > 24 or int(text, 0) >= 1 << 63:
            raise _UnfitError(f"{text[:20]}… does not fit into 64 bits")
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
        raise _UnfitError(f"{text[:20]} is not a finite number")
    return float(text) if _FLOAT.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    """Join surrogate pairs (JSON's way to write far characters); refuse what cannot be stored or be a file name."""
    try:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError:
        raise _UnfitError("text with half a character (a lone surrogate)") from None
    if "\0" in text:
        raise _UnfitError("text with a NUL character")
    return text


def _syntax(error: YAMLError, text: str, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        line = mark.line + 1
        words = str(getattr(error, "problem", None) or error)
    else:
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        words = str(error).splitlines()[0]
    if "'\\t' that cannot start" in words:
        words = "a tab; YAML is indented and spaced with spaces"
    elif "cannot start any token" in words:
        words += "; put the text in quotes"
    return Problem(f"{name}:{line}", words)


def dump_yaml(value: dict[str, Any]) -> str:
    """Write a mapping as YAML that `parse_yaml` reads back to an equal value."""
    return "".join(_lines(value, 0)) or "{}\n"


def _lines(value: dict[str, Any], depth: int) -> Iterator[str]:
    for key, item in value.items():
        start = f"{'  ' * depth}{dump_scalar(key)}:"
        short = f"{start} {dump_value(item)}\n"
        if isinstance(item, dict) and item and (depth == 0 or len(short) > 100):
            yield f"{start}\n"
            yield from _lines(item, depth + 1)
        else:
            yield short


def dump_value(value: Any) -> str:
    """Write any YAML value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump_scalar(k)}: {dump_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(dump_value, value)) + "]"
    return dump_scalar(value)


def dump_scalar(value: Any) -> str:
    """Write one scalar so that it reads back as the same type and value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text not in _WORDS:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08X}"

"""`--set path=value`: changes to a plan from the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.domains import WORDS
from limbeck.dotted import BlockedError, lay, put, within
from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.trial import TrialSpec
from limbeck.yaml_strict import parse_yaml

SECTIONS = ("name", "base", "tasks", "objective", "vary", "search", "ablate", "seeds", "cluster", "limits")


@dataclass(frozen=True)
class Override:
    """One change: the keys down to the place (a key may hold dots), and the value; None takes a section's entry out."""

    given: str
    keys: tuple[str, ...]
    value: Any


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Read `path=value` texts. `base.` may be left out. UserError lists every text that is none."""
    found: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        path, equals, value = text.partition("=")
        where = f"--set {text}"
        if not equals or not all(path.split(".")):
            problems.append(Problem(where, "write it as path=value, for example training.epochs=1"))
            continue
        try:
            found.append(Override(path, _keys(path), parse_yaml(value, where)))
        except UserError as error:
            problems += [Problem(where, p.what) for p in error.problems]
    if problems:
        raise UserError(*problems)
    return found


def _keys(path: str) -> tuple[str, ...]:
    """Cut a path at the dots that part keys of the file: those inside the keys of `vary` stay."""
    head, *rest = path.split(".")
    if head in TrialSpec.model_fields:
        return "base", *path.split(".")
    if head not in SECTIONS:
        raise UserError(f"no such field: '{head}'. {did_you_mean(head, [*SECTIONS, *TrialSpec.model_fields])}")
    if head in ("objective", "limits") and rest:
        return head, ".".join(rest)
    if head == "vary" and rest:
        return head, *_domain_keys(rest)
    if head == "ablate" and rest[:1] == ["factors"] and len(rest) > 2:
        return head, "factors", rest[1], *([".".join(rest[2:])] if rest[2:] else [])
    return head, *rest


def _domain_keys(rest: list[str]) -> tuple[str, ...]:
    for place, word in enumerate(rest):
        if word in WORDS and place > 0:
            below = ".".join(rest[place + 1 :])
            return ".".join(rest[:place]), word, *([below] if below else [])
    return (".".join(rest),)


def apply_overrides(raw: Mapping[str, Any], overrides: Sequence[Override], where: str) -> dict[str, Any]:
    """Return the plan with the changes made; UserError for one that would have no effect because the path is varied."""
    out = lay(raw, {})
    problems: list[Problem] = []
    for override in overrides:
        try:
            _apply(out, override)
        except BlockedError as error:
            problems.append(Problem(f"--set {override.given}", str(error)))
    varied = out.get("vary") if isinstance(out.get("vary"), dict) else None
    problems += [
        Problem(f"--set {override.given}", _instead(path, where))
        for override in overrides
        if override.keys[0] == "base" and (path := _varied(varied or {}, ".".join(override.keys[1:])))
    ]
    if problems:
        raise UserError(*problems)
    return out


def _apply(out: dict[str, Any], override: Override) -> None:
    keys = list(override.keys)
    if override.value is None and keys[0] != "base":
        here: Any = out
        for key in keys[:-1]:
            here = here.get(key) if isinstance(here, dict) else None
        if isinstance(here, dict):
            here.pop(keys[-1], None)
    elif keys[0] == "base" and len(keys) > 1:
        if not isinstance(out.setdefault("base", {}), dict):
            raise BlockedError("'base' is not a mapping")
        put(out["base"], keys[1:], override.value)
    else:
        put(out, keys, override.value)


def _varied(vary: Mapping[str, Any], path: str) -> str | None:
    return next((varied for varied in vary if within(path, varied)), None)


def _instead(path: str, where: str) -> str:
    return (
        f"{where} varies it; change its values with --set 'vary.{path}={{choice: [...]}}', "
        f"or fix it with --set vary.{path}=null beside this"
    )

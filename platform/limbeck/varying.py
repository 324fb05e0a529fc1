"""The `vary` section: domains in an order in which conditions come first, and proof that every value makes a trial."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.domains import Domain, parse_domain
from limbeck.dotted import BlockedError, find, lay, leaves, same, within
from limbeck.errors import did_you_mean
from limbeck.faults import Fault, shown, trial_faults

_MOST_CONTEXTS = 16
_MOST_TRIED = 4096

Vary = dict[str, Domain]


def parse_vary(raw: Any) -> tuple[Vary, list[Fault]]:
    """Read the section; fault paths start at the section. Domains with faults are left out."""
    if not isinstance(raw, dict):
        return {}, [Fault("", f"must be a mapping {{path: domain}}, got {shown(raw)}")]
    domains: Vary = {}
    faults: list[Fault] = []
    for path, text in raw.items():
        if within(path, "seed"):
            faults.append(Fault(path, "a seed is no hyperparameter; list seeds at the top: seeds: [0, 1, 2]"))
            continue
        domain, found = parse_domain(text)
        faults += [fault.under(path) for fault in found]
        if domain is not None:
            domains[path] = domain
    for one, other in itertools.permutations(domains, 2):
        if other != one and within(other, one):
            faults.append(Fault(other, f"'{one}' is varied too and replaces it"))
    return domains, faults


def active(vary: Mapping[str, Domain], base: Mapping[str, Any], path: str, values: Mapping[str, Any]) -> bool:
    """Say whether the parameter counts, given the values of those before it and the complete base."""
    return all(
        any(same(_effective(vary, base, condition, values), value) for value in accepted)
        for condition, accepted in (vary[path].when or {}).items()
    )


def _effective(vary: Mapping[str, Domain], base: Mapping[str, Any], path: str, values: Mapping[str, Any]) -> Any:
    if path in vary:
        # A parameter that does not count itself satisfies no condition: its children do not count either.
        return values.get(path, _Absent)
    there, value = find(base, path)
    return value if there else _Absent


class _Absent:
    """Equal to no value of a plan."""


def ordered(vary: Vary) -> tuple[Vary, list[Fault]]:
    """Return the domains with every condition before what hangs on it, else in the file's order; faults for cycles."""
    left, out = dict(vary), Vary()
    while left:
        ready = [path for path in left if not any(condition in left for condition in left[path].when or {})]
        if not ready:
            return out, [Fault(f"{next(iter(left))}.when", f"conditions in a circle: {', '.join(left)}")]
        out[ready[0]] = left.pop(ready[0])
    return out, []


def condition_faults(vary: Vary, base: Mapping[str, Any] | None) -> list[Fault]:
    """Return conditions on unknown paths, and those that can never hold.

    Without the complete base (it has faults) only conditions on varied paths are judged.
    """
    return [
        Fault(f"{path}.when.{condition}", what)
        for path, domain in vary.items()
        for condition, accepted in (domain.when or {}).items()
        if (what := _condition_fault(vary, base, condition, accepted))
    ]


def _condition_fault(vary: Vary, base: Mapping[str, Any] | None, path: str, accepted: tuple[Any, ...]) -> str | None:
    if path in vary:
        if vary[path].kind in ("uniform", "loguniform"):
            return "it is varied over a continuous range, where single values have no chance"
        never = [value for value in accepted if not vary[path].contains(value)]
        return f"'{path}' never takes {', '.join(map(shown, never))}" if never else None
    if base is None:
        return None
    there, value = find(base, path)
    if not there:
        return f"no such field. {did_you_mean(path, [*vary, *leaves(base)])}"
    if not any(same(value, wanted) for wanted in accepted):
        return f"never holds: it is not varied, and {shown(value)} in the base"
    return None


def value_faults(vary: Vary, base: Mapping[str, Any], known: Sequence[Fault]) -> list[Fault]:
    """Return what keeps values of the domains from making valid trials, less the faults the base has itself."""
    found: dict[Fault, None] = {}
    for path, contexts in _contexts(vary).items():
        if not contexts:
            found[Fault(f"{path}.when", "never holds: its conditions exclude each other")] = None
        for context in contexts:
            found.update(dict.fromkeys(_faults_under(context, path, vary[path].probes(), base, known)))
    return list(found)


def pair_faults(vary: Vary, base: Mapping[str, Any]) -> list[Fault]:
    """Return the first two values of each two domains that make no valid trial together, where each alone does.

    Only paths of one section (`student`, `method`, …) are paired: sections are checked apart.
    """
    contexts = _contexts(vary)
    tries = itertools.islice(
        (
            (one, other, values)
            for one, other in itertools.combinations(vary, 2)
            if one.split(".")[0] == other.split(".")[0] and one not in contexts[other][0]
            for values in itertools.product(vary[one].probes(), vary[other].probes())
        ),
        _MOST_TRIED,
    )
    found: dict[tuple[str, str], Fault] = {}
    for one, other, (value, partner) in tries:
        together = _merged([contexts[one][0], contexts[other][0], {one: value}, {other: partner}])
        if (one, other) in found or together is None:
            continue
        for fault in laid_faults(together, base, ())[:1]:
            what = f"{shown(value)} does not go with {other} {shown(partner)}: {fault.what}"
            found[one, other] = Fault(one, what)
    return list(found.values())


def _faults_under(
    context: Mapping[str, Any], path: str, values: Sequence[Any], base: Mapping[str, Any], known: Sequence[Fault]
) -> list[Fault]:
    try:
        background = lay(base, context)
    except BlockedError:
        return []  # told of the condition's own path
    before = [*known, *trial_faults(background)] if context else known
    return [fault for value in values for fault in laid_faults({path: value}, background, before)]


def _contexts(vary: Vary) -> dict[str, list[dict[str, Any]]]:
    """Return for every path some values of the others under which it counts. `vary` is in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, domain in vary.items():
        options = [
            [{**context, condition: value} for value in accepted for context in found.get(condition, ())]
            for condition, accepted in (domain.when or {}).items()
            if condition in vary
        ]
        choices = itertools.islice(itertools.product(*options), _MOST_TRIED)
        merged = (_merged(choice) for choice in choices)
        found[path] = list(itertools.islice((context for context in merged if context is not None), _MOST_CONTEXTS))
    return found


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the union of assignments, or None where two of them disagree."""
    out: dict[str, Any] = {}
    for part in parts:
        if any(key in out and not same(out[key], value) for key, value in part.items()):
            return None
        out.update(part)
    return out


def laid_faults(values: Mapping[str, Any], base: Mapping[str, Any], known: Sequence[Fault]) -> list[Fault]:
    """Return what is wrong with the trial once `values` are laid over `base`, less the faults already known.

    Paths start at the trial where the fault lies in what was laid, else at the first path that was laid.
    """
    try:
        faults = trial_faults(lay(base, values))
    except BlockedError as error:
        return [Fault(next(iter(values)), str(error))]
    return [_placed(fault, values) for fault in faults if fault not in known]


def _placed(fault: Fault, values: Mapping[str, Any]) -> Fault:
    if any(within(fault.path, path) or within(path, fault.path) for path in values):
        return fault
    first, value = next(iter(values.items()))
    return Fault(first, f"with {shown(value)}, {fault.path} is wrong: {fault.what}")

"""Which configurations a sweep runs: known beforehand, or proposed one after another."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from limbeck.cluster.study import Asked, Study, Verdict
from limbeck.plan import Plan

_MOST_REPEATS = 100
"""Proposals in a row that were tried before: then the space counts as exhausted."""


@dataclass(frozen=True)
class Configuration:
    """Values to run with every seed of the plan."""

    name: str
    values: Mapping[str, Any]


Kept = tuple[Mapping[str, Any], Verdict | None]
"""A configuration's values and, where it has ended, its verdict."""


class Configurations(Protocol):
    """Where configurations come from and where their verdicts go."""

    def restore(self, kept: Mapping[str, Kept]) -> None:
        """Take up an earlier run's configurations by their names. Call it first."""
        ...

    def left(self) -> bool:
        """Say whether there may be more."""
        ...

    def next(self) -> Configuration | None:
        """Return the next one, or None when there are no more."""
        ...

    def admit(self, name: str, trials: Sequence[str]) -> None:
        """Learn that a configuration's trials stand in the results."""
        ...

    def ended(self, name: str, verdict: Verdict) -> None:
        """Learn how all seeds of a configuration did."""
        ...


class Known:
    """A grid, an ablation, or one configuration alone."""

    def __init__(self, plan: Plan) -> None:
        self._left = [Configuration(cell.name, cell.values) for cell in plan.cells()][::-1]

    def restore(self, kept: Mapping[str, Kept]) -> None:
        return None

    def left(self) -> bool:
        return bool(self._left)

    def next(self) -> Configuration | None:
        return self._left.pop() if self._left else None

    def admit(self, name: str, trials: Sequence[str]) -> None:
        return None

    def ended(self, name: str, verdict: Verdict) -> None:
        return None


class Searched:
    """A study's proposals. One that was made before is not trained again: it takes the earlier one's verdict."""

    def __init__(self, plan: Plan, study: Study, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._study = study
        self._say = say
        self._first: dict[str, int] = {}
        self._repeats: dict[int, list[int]] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._admitted: set[int] = set()
        self._unheard: list[Asked] = []

    def restore(self, kept: Mapping[str, Kept]) -> None:
        """Take up an earlier run. The results are the truth; the study is brought to agree with them."""
        asked = {item.number: item for item in self._study.restore()}
        for name, (values, _) in sorted(kept.items()):
            if int(name) not in asked and int(name) == len(asked):
                self._study.add(values, {"cell": name})
                asked[int(name)] = Asked(int(name), dict(values))
        for number, item in sorted(asked.items()):
            name = _name(number)
            if name in kept:
                self._first.setdefault(_key(item.values), number)
                self._admitted.add(number)
                verdict = kept[name][1]
                if verdict is not None:
                    self.ended(name, verdict)
            elif item.running:
                self._unheard.append(item)

    def left(self) -> bool:
        return len(self._admitted) < self._plan.search.trials

    def next(self) -> Configuration | None:
        if not self.left():
            return None
        for _ in range(_MOST_REPEATS):
            fresh = not self._unheard
            asked = self._study.ask() if fresh else self._unheard.pop(0)
            first = self._first.setdefault(_key(asked.values), asked.number)
            if first == asked.number:
                return Configuration(_name(asked.number), asked.values)
            if fresh:
                self._study.admit(asked.number, {"same_as": first})
            self._repeat(asked.number, first)
        self._say(f"the search space holds no more than {len(self._first)} different configurations")
        return None

    def admit(self, name: str, trials: Sequence[str]) -> None:
        self._study.admit(int(name), {"cell": name, "trials": list(trials)})
        self._admitted.add(int(name))

    def ended(self, name: str, verdict: Verdict) -> None:
        number = int(name)
        self._verdicts[number] = verdict
        for other in (number, *self._repeats.pop(number, ())):
            self._study.tell(other, verdict)

    def _repeat(self, number: int, first: int) -> None:
        if first in self._verdicts:
            self._study.tell(number, self._verdicts[first])
        else:
            self._repeats.setdefault(first, []).append(number)


def _name(number: int) -> str:
    return f"{number:04d}"


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)

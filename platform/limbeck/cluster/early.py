"""Stopping poor trials early: asynchronous successive halving over the share of a trial's budget."""

import math
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from limbeck.sections import Direction, SearchConfig

_SHARE = "share"
_VALUE = "value"


@dataclass(frozen=True)
class _Named:
    """All that the scheduler wants to know of a trial."""

    trial_id: str


class Halving:
    """Rungs at `grace`, `grace * reduction`, … of a trial's budget; at each a trial goes on when it is among the best.

    Ray's scheduler decides, but it does not stop the trial: a stop from outside leaves a nested trial's workers
    behind, and after a resume the same trial must be known by the same name.
    """

    def __init__(self, search: SearchConfig, direction: Direction) -> None:
        self._rungs = AsyncHyperBandScheduler(
            time_attr=_SHARE,
            metric=_VALUE,
            mode=direction,
            max_t=1.0,
            grace_period=search.grace,
            reduction_factor=search.reduction,
            stop_last_trials=False,
        )
        self._known: set[str] = set()

    def goes_on(self, trial: str, share: float, value: float) -> bool:
        """Record a trial's value after `share` of its budget; say whether it is worth going on."""
        if share >= 1 or math.isnan(value):
            return True
        # The controller is handed through and never used by this scheduler.
        controller: Any = None
        named: Any = _Named(trial)
        if trial not in self._known:
            self._known.add(trial)
            self._rungs.on_trial_add(controller, named)
        decision = self._rungs.on_trial_result(controller, named, {_SHARE: share, _VALUE: value})
        return bool(decision == TrialScheduler.CONTINUE)

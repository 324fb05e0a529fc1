"""Optuna's TPE without its cost: the same proposals, but no trial is read anew for each of them.

Of a trial that ended nothing changes, so what is read of it once is remembered, beyond the sampler that read it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_COUNTED = [TrialState.COMPLETE.value, TrialState.PRUNED.value, TrialState.RUNNING.value]
Of = Callable[[FrozenTrial], float]


class Memory:
    """What TPE needs to know of a study's trials. The distribution of a parameter must not change."""

    def __init__(self) -> None:
        self.space = IntersectionSearchSpace(include_pruned=True)
        self._ended = 0
        self._known: dict[str, list[float]] = {}

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Note which trials have ended, in the order of their numbers; what is read of one that runs may change."""
        while self._ended < len(trials) and trials[self._ended].state.is_finished():
            self._ended += 1

    def read(self, what: str, trials: Sequence[FrozenTrial], of: Of) -> np.ndarray:
        """Return a number of each trial, (N,) float64, the old ones as they were read under this name before."""
        known = self._known.setdefault(what, [])
        known += map(of, trials[len(known) : self._ended])
        return np.array([*known, *map(of, trials[self._ended :])], float)


def _value(trial: FrozenTrial) -> float:
    return np.nan if trial.value is None else trial.value


def _state(trial: FrozenTrial) -> float:
    return trial.state.value


def _setting(name: str, distribution: BaseDistribution) -> Of:
    def of(trial: FrozenTrial) -> float:
        return distribution.to_internal_repr(trial.params[name]) if name in trial.params else np.nan

    return of


class Tpe(TPESampler):
    """TPE that counts running trials among the bad ones (constant liar), with a memory that outlives the sampler."""

    def __init__(self, memory: Memory, **settings: Any) -> None:
        super().__init__(constant_liar=True, **settings)
        self._memory = memory

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters to sample together; several objectives are sampled one parameter after another."""
        if len(study.directions) > 1:
            return {}
        found = self._memory.space.calculate(study, use_cache=True)
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Return what is likeliest among the good trials and not among the others: Optuna's method of this name."""
        trials = study.get_trials(deepcopy=False)
        memory = self._memory
        memory.look(trials)
        states = memory.read("state", trials, _state)
        counted = np.isin(states, _COUNTED)
        counted[trial.number] = False
        complete = np.flatnonzero(states == TrialState.COMPLETE.value)
        good_ones = default_gamma(int(np.sum(counted & (states != TrialState.RUNNING.value))))
        if len(study.directions) > 1 or good_ones > len(complete):
            # Fronts and trials that were stopped have orders of their own.
            return super()._sample(study, trial, search_space)
        values = memory.read("value", trials, _value)[complete]
        if study.direction == StudyDirection.MAXIMIZE:
            values = -values
        good = np.zeros(len(trials), bool)
        good[complete[np.argsort(values, kind="stable")[:good_ones]]] = True
        columns = {
            name: memory.read(f"setting {name}", trials, _setting(name, each)) for name, each in search_space.items()
        }
        there = counted & ~np.any([np.isnan(column) for column in columns.values()], axis=0)
        below = self._estimator({name: column[there & good] for name, column in columns.items()}, search_space)
        above = self._estimator({name: column[there & ~good] for name, column in columns.items()}, search_space)
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: each.to_external_repr(best[name]) for name, each in search_space.items()}

    def _estimator(self, observations: Mapping[str, np.ndarray], space: dict[str, BaseDistribution]) -> Any:
        return self._parzen_estimator_cls(dict(observations), space, self._parzen_estimator_parameters)

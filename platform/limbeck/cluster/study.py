"""The Optuna study of a sweep: asked in memory, mirrored to the database where other tools read it."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from limbeck.cluster.mirror import Mirror, directions
from limbeck.cluster.tpe import Memory, Tpe
from limbeck.domains import Domain
from limbeck.dotted import same
from limbeck.noise import derived_seed
from limbeck.plan import Plan
from limbeck.sections import SearchConfig

_DECIMALS = 12
"""Stepped ranges: 0.1 + 2 * 0.1 is to be 0.3, so that equal settings have equal names."""
_STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Verdict:
    """How a configuration did, over all its seeds."""

    state: Literal["complete", "stopped", "failed"]
    values: tuple[float, ...] = ()
    """One an objective; of a stopped one the last that was seen. Empty where nothing was seen."""
    updates: int = 0
    """Student updates after which `values` were seen."""


@dataclass(frozen=True)
class Asked:
    """A configuration the study proposed, by its number in the study."""

    number: int
    values: dict[str, Any]
    running: bool = True


class Study:
    """Proposes values and learns from verdicts.

    The sampler is seeded anew for every number, so that what is asked depends on plan, number and history only: a
    study that was restored asks what it would have asked undisturbed. Other tools read the mirror; nothing waits on it
    to answer, and a complete study survives there.
    """

    def __init__(self, plan: Plan, mirror: Mirror | None = None) -> None:
        self._plan = plan
        self._mirror = mirror
        self._storage = InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(study_name=plan.name, storage=self._storage, directions=directions(plan))
        self._id = self._storage.get_study_id_from_name(plan.name)
        self._memory = Memory()

    def restore(self) -> list[Asked]:
        """Take up what the mirror kept of an earlier run; return everything that was asked, in order."""
        for kept in self._mirror.trials() if self._mirror else ():
            self._storage.create_new_trial(self._id, template_trial=kept)
        return [
            Asked(trial.number, self._values(trial.params), not trial.state.is_finished()) for trial in self._trials()
        ]

    def ask(self) -> Asked:
        """Propose values for a new configuration; conditional parameters only where they count."""
        with _without_experimental_warnings():
            self._study.sampler = _sampler(self._plan.search, len(self._trials()), self._memory)
            if self._plan.search.sampler == "gp":
                with _one_thread():
                    return self._ask()
            return self._ask()

    def _ask(self) -> Asked:
        trial = self._study.ask()
        values: dict[str, Any] = {}
        for path, domain in self._plan.vary.items():
            if domain.when is None or self._plan.active(path, values):
                values[path] = _value(domain, _suggest(trial, path, domain))
        return Asked(trial.number, values)

    def admit(self, number: int, facts: Mapping[str, Any]) -> None:
        """Keep a proposal, with facts for whoever reads the study: call it before the next `ask`."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        for name, fact in facts.items():
            self._storage.set_trial_user_attr(trial_id, name, fact)
        if self._mirror:
            self._mirror.begin(self._trials()[number])

    def add(self, values: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Add a configuration that is known to run but which the mirror has lost."""
        distributions = {path: _distribution(self._plan.vary[path]) for path in values}
        params = {path: _label(self._plan.vary[path], value) for path, value in values.items()}
        lost = optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=dict(facts)
        )
        self._storage.create_new_trial(self._id, template_trial=lost)
        if self._mirror:
            self._mirror.begin(self._trials()[-1])

    def tell(self, number: int, verdict: Verdict) -> None:
        """Take in how a configuration did; a second verdict on the same one is ignored."""
        trial = self._trials()[number]
        if trial.state.is_finished():
            return
        state = _STATES[verdict.state]
        if state is TrialState.PRUNED and len(verdict.values) == 1:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
            self._storage.set_trial_intermediate_value(trial_id, verdict.updates, verdict.values[0])
        with _without_experimental_warnings():
            values = list(verdict.values) if state is TrialState.COMPLETE else None
            told = self._study.tell(number, values=values, state=state)
        if self._mirror:
            self._mirror.end(told)

    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=False)

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        vary = self._plan.vary
        return {path: _value(vary[path], params[path]) for path in vary if path in params}


def _sampler(search: SearchConfig, number: int, memory: Memory) -> optuna.samplers.BaseSampler:
    seed = derived_seed(search.seed, "search", number) % 2**32
    match search.sampler:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "gp":
            return optuna.samplers.GPSampler(
                seed=seed, n_startup_trials=search.startup, warn_independent_sampling=False
            )
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, search.startup))
        case _:
            return Tpe(memory, seed=seed, n_startup_trials=search.startup)


def _distribution(domain: Domain) -> BaseDistribution:
    low, high = domain.low or 0, domain.high or 0
    match domain.kind:
        case "choice":
            return CategoricalDistribution(_labels(domain.values))
        case "int":
            return IntDistribution(int(low), int(high), step=int(domain.step or 1))
        case "uniform":
            return FloatDistribution(low, high, step=domain.step)
        case "loguniform":
            return FloatDistribution(low, high, log=True)


def _suggest(trial: optuna.Trial, path: str, domain: Domain) -> Any:
    low, high = domain.low or 0, domain.high or 0
    match domain.kind:
        case "choice":
            return trial.suggest_categorical(path, _labels(domain.values))
        case "int":
            return trial.suggest_int(path, int(low), int(high), step=int(domain.step or 1))
        case "uniform":
            return trial.suggest_float(path, low, high, step=domain.step)
        case "loguniform":
            return trial.suggest_float(path, low, high, log=True)


def _labels(choices: Sequence[Any]) -> tuple[Any, ...]:
    """Return choices as Optuna takes them: themselves, or JSON where they are tables or `true` stands beside 1."""
    simple = all(isinstance(choice, str | int | float | None) for choice in choices)
    if simple and len(set(choices)) == len(choices):
        return tuple(choices)
    return tuple(json.dumps(choice, sort_keys=True) for choice in choices)


def _label(domain: Domain, value: Any) -> Any:
    if domain.kind != "choice":
        return value
    place = next(i for i, choice in enumerate(domain.values) if same(choice, value))
    return _labels(domain.values)[place]


def _value(domain: Domain, label: Any) -> Any:
    if domain.kind == "choice":
        return domain.values[_labels(domain.values).index(label)]
    return round(label, _DECIMALS) if domain.kind == "uniform" and domain.step else label


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Fit the Gaussian process with one thread: the others of this machine are busy with trials."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

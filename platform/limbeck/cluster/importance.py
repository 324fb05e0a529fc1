"""How much each varied setting decides about the objective, by Optuna's evaluators."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from limbeck.domains import Domain
from limbeck.plan import Plan

Evaluator = Literal["ped-anova", "fanova"]
_BEST_SHARE, _FEWEST_BEST = 0.1, 5


def importances(
    plan: Plan, values: Sequence[Mapping[str, Any]], scores: Sequence[float], evaluator: Evaluator = "ped-anova"
) -> dict[str, float]:
    """Return each varied path's share of 1 for configurations that all ran to their end, scored by the first objective.

    PED-ANOVA asks what brings a configuration among the best tenth (five at least), fANOVA what makes scores differ.
    Source: Watanabe, Bansal & Hutter, arXiv 2304.10255; Hutter, Hoos & Leyton-Brown, ICML 2014.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    highest = next(iter(plan.objectives.values())) == "max"
    study = optuna.create_study(direction="maximize" if highest else "minimize")
    for given, score in zip(values, scores, strict=True):
        known = {path: plan.vary[path] for path in given if path in plan.vary}
        study.add_trial(
            optuna.trial.create_trial(
                params={path: _label(domain, given[path]) for path, domain in known.items()},
                distributions={path: _distribution(domain) for path, domain in known.items()},
                value=score,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        found = optuna.importance.get_param_importances(study, evaluator=_evaluator(evaluator, len(scores)))
    return {path: float(share) for path, share in found.items()}


def _evaluator(name: Evaluator, count: int) -> BaseImportanceEvaluator:
    if name == "fanova":
        return FanovaImportanceEvaluator(seed=0)
    return PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(_BEST_SHARE, _FEWEST_BEST / count)))


def _label(domain: Domain, value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if domain.kind == "choice" else value


def _distribution(domain: Domain) -> BaseDistribution:
    low, high = domain.low or 0, domain.high or 0
    match domain.kind:
        case "choice":
            return CategoricalDistribution([_label(domain, value) for value in domain.values])
        case "int":
            return IntDistribution(int(low), int(high), step=int(domain.step or 1))
        case "uniform":
            return FloatDistribution(low, high, step=domain.step)
        case "loguniform":
            return FloatDistribution(low, high, log=True)

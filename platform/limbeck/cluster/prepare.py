"""What a sweep's trials share, and so what has to be made before the first of them starts."""

import json
from collections.abc import Sequence

from limbeck.cluster.slots import Resources
from limbeck.plan import Plan
from limbeck.trial import TrialSpec

_SHARED = ("task", "teacher", "sources")
_SHARED_TRAINING = ("max_tokens", "precision", "unlabelled")


def shared_specs(plan: Plan) -> list[TrialSpec]:
    """Return one trial for each set of things to share: the base of a search, the kinds of cells of other plans."""
    found: dict[str, TrialSpec] = {}
    for values in [cell.values for cell in plan.cells()] or [{}]:
        spec = plan.spec(values, plan.seeds[0])
        found.setdefault(_shared_key(spec), spec)
    return list(found.values())


def _shared_key(spec: TrialSpec) -> str:
    raw = spec.model_dump(mode="json")
    parts = [raw[name] for name in _SHARED] + [raw["training"][name] for name in _SHARED_TRAINING]
    return json.dumps([*parts, [settings.fit.model_dump(mode="json") for settings in spec.method.generators()]])


def preparing_threads(plan: Plan, nodes: Sequence[Resources], *, ours: bool) -> int:
    """All CPUs of a machine that is ours, where nothing else runs yet; on others' clusters what a trial takes."""
    if ours:
        return max(1, int(max(node.get("CPU", 1.0) for node in nodes)))
    return max(1, int(plan.cluster.cpus))

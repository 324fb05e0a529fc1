"""The small sections of a plan: objective, search, cluster, seeds, limits."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from limbeck.config import Config
from limbeck.errors import did_you_mean
from limbeck.faults import Fault, shown
from limbeck.metrics import METRICS
from limbeck.timing import BATCHES, SHARES

Direction = Literal["max", "min"]
_LEARNED: dict[str, Direction] = {
    "retention": "max",
    "selection/agreement": "max",
    "selection/kl": "min",
    **{f"selection/{name}": "max" for name in METRICS},
}
_GRAPH = "latency_ms/onnx/"
LATENCIES = (
    "latency_ms",
    *(f"{kind}batch{size}/p{share}" for kind in ("latency_ms/", _GRAPH) for size in BATCHES for share in SHARES),
)
"""In torch, and in ONNX Runtime; `latency_ms` is torch's median for one text."""
LIMITS = ("parameters", "parameters_non_embedding", *LATENCIES)
_COSTS: dict[str, Direction] = {**dict.fromkeys(LIMITS, "min"), "train_seconds": "min"}
OBJECTIVES = {**_LEARNED, **_COSTS}
_LARGEST_SEED = 2**31


class SearchConfig(Config):
    """How values are proposed, how many times, and whether poor trials are stopped early."""

    sampler: Literal["tpe", "random", "gp", "grid", "nsga2"] = "tpe"
    trials: PositiveInt = 20
    """Configurations tried; each runs once a seed. A grid has as many as its choices make."""
    early_stop: Literal["none", "asha"] = "none"
    seed: Annotated[int, Field(ge=0, lt=_LARGEST_SEED)] = 0
    """Of the sampler, not of the trials."""
    startup: PositiveInt = 10
    """Configurations drawn at random before the sampler builds on what it saw."""
    grace: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of a trial's updates before ASHA may stop it."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """ASHA goes on with the best 1/reduction at each rung."""


class ClusterConfig(Config):
    """What one trial takes of the cluster, and how many run at once."""

    workers: NonNegativeInt = 0
    """Ray Train workers a trial; 0 trains inside the trial's own actor."""
    cpus: PositiveFloat = 1.0
    """CPUs a worker (or a trial without workers)."""
    gpus: NonNegativeFloat = 0.0
    """GPUs a worker (or a trial without workers)."""
    concurrent: Literal["auto"] | PositiveInt = "auto"
    """Trials at once; auto takes what the cluster holds."""


def parse_objectives(raw: Any) -> tuple[dict[str, Direction], list[Fault]]:
    """Read `{metric: max | min}`, one or two of them."""
    if not isinstance(raw, dict) or not raw:
        return {}, [Fault("", f"must be a mapping such as {{retention: max}}, got {shown(raw)}")]
    found: dict[str, Direction] = {}
    faults = [] if len(raw) <= 2 else [Fault("", f"must be one metric or two, got {len(raw)}")]
    for name, direction in raw.items():
        if name not in OBJECTIVES:
            faults.append(Fault(name, _no_objective(name)))
        elif direction == "max":
            found[name] = "max"
        elif direction == "min":
            found[name] = "min"
        else:
            faults.append(Fault(name, f"must be max or min, got {shown(direction)}"))
    return found, faults


def _no_objective(name: str) -> str:
    if name.startswith("test/"):
        return "the test split is read once, for the report; search by retention or a selection/ metric"
    return f"no such objective. {did_you_mean(name, OBJECTIVES)}"


def objective_warnings(objectives: Mapping[str, Direction]) -> list[str]:
    """Say where an objective is to be driven the wrong way."""
    return [
        f"objective.{name}: {direction} looks for the worst; usually {OBJECTIVES[name]}"
        for name, direction in objectives.items()
        if direction != OBJECTIVES[name]
    ]


def search_faults(search: SearchConfig, objectives: Mapping[str, Direction]) -> list[Fault]:
    """Return what does not go together; fault paths start at the search section."""
    faults: list[Fault] = []
    if len(objectives) > 1:
        if search.early_stop == "asha":
            way_out = "asha ranks by one number; with two objectives set early_stop: none, or keep one objective"
            faults.append(Fault("early_stop", way_out))
        if search.sampler == "gp":
            faults.append(Fault("sampler", "gp serves one objective; with two set sampler: nsga2 or tpe"))
    elif search.early_stop == "asha" and any(name in _COSTS for name in objectives):
        name = next(iter(objectives))
        what = f"asha needs an objective that is measured while a trial runs; {name} is not: set early_stop: none"
        faults.append(Fault("early_stop", what))
    if search.sampler == "grid" and "trials" in search.model_fields_set:
        faults.append(Fault("trials", "a grid runs every combination; leave trials out, or set sampler: random"))
    return faults


def parse_seeds(raw: Any) -> tuple[tuple[int, ...], list[Fault]]:
    """Read a list of different whole numbers."""
    if not isinstance(raw, list) or not raw:
        return (), [Fault("", f"must be a list of whole numbers such as [0, 1, 2], got {shown(raw)}")]
    wrong = [seed for seed in raw if isinstance(seed, bool) or not isinstance(seed, int)]
    if wrong:
        return (), [Fault("", f"must hold whole numbers, got {shown(wrong[0])}")]
    if not all(0 <= seed < _LARGEST_SEED for seed in raw):
        return (), [Fault("", f"must be at least 0 and below {_LARGEST_SEED}, got {shown(raw)}")]
    if len(set(raw)) < len(raw):
        return (), [Fault("", f"must differ from each other, got {shown(raw)}")]
    return tuple(raw), []


def needs_graph(names: Iterable[str]) -> bool:
    """Say whether one of these numbers is measured in ONNX Runtime."""
    return any(name.startswith(_GRAPH) for name in names)


def parse_limits(raw: Any) -> tuple[dict[str, float], list[Fault]]:
    """Read `{metric: largest value allowed}` of what is known before a trial trains."""
    if not isinstance(raw, dict):
        return {}, [Fault("", f"must be a mapping such as {{parameters: 8e6}}, got {shown(raw)}")]
    faults = [Fault(name, f"no such limit. {did_you_mean(name, LIMITS)}") for name in raw if name not in LIMITS]
    for name, value in raw.items():
        if name in LIMITS and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            faults.append(Fault(name, f"must be a number above 0, got {shown(value)}"))
    return ({} if faults else {name: float(value) for name, value in raw.items()}), faults

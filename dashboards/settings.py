"""Settings of trials side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import plan_text
import words
from limbeck.store import SweepRow, TrialRow


def difference(sweep: SweepRow, trial: TrialRow) -> pd.DataFrame:
    """Return the settings in which a trial differs from its plan's base."""
    base = plan_text.base(sweep.plan)
    rows = []
    for path, value in trial.values.items():
        usual = plan_text.lookup(base, path)
        rows.append((path, usual if usual == plan_text.NOT_SET else words.value_text(usual), words.value_text(value)))
    return pd.DataFrame(rows, columns=["setting", "base", "this trial"])


def complete(sweep: SweepRow, trial: TrialRow) -> pd.DataFrame:
    """Return all settings of a trial and where each comes from."""
    base = plan_text.base(sweep.plan)
    rows = []
    for path, value in words.flattened(trial.spec).items():
        varied = any(path == p or path.startswith(f"{p}.") for p in trial.values)
        source = "varied" if varied else "plan" if _written(base, path) else "default"
        rows.append((path, words.value_text(value), source))
    return pd.DataFrame(rows, columns=["setting", "value", "from"])


def _written(base: Mapping[str, Any], path: str) -> bool:
    return plan_text.lookup(base, path) != plan_text.NOT_SET


def side_by_side(trials: Mapping[str, TrialRow]) -> pd.DataFrame:
    """Return the settings in which trials differ, a column a trial."""
    flat = {name: words.flattened(trial.spec) for name, trial in trials.items()}
    paths = dict.fromkeys(path for one in flat.values() for path in one)
    differing = [path for path in paths if _differs([one.get(path) for one in flat.values()])]
    rows = [[path, *(words.value_text(one.get(path)) for one in flat.values())] for path in differing]
    return pd.DataFrame(rows, columns=["setting", *flat])


def _differs(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values[1:])

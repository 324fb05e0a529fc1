"""A sweep's study opens in optuna-dashboard by the database URL of the results."""

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna_dashboard

from limbeck.cluster.mirror import Mirror
from limbeck.cluster.study import Study, Verdict
from limbeck.plan import parse_plan

from .demo import SEARCH, build


def get(app: Any, path: str) -> Any:
    """Return the JSON that a server answers with."""
    environment: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environment)
    status: list[str] = []
    answer = b"".join(app(environment, lambda code, headers, *_: status.append(code)))
    assert status == ["200 OK"], answer
    return json.loads(answer)


def test_the_study_opens_beside_the_results(tmp_path: Path) -> None:
    url = build(tmp_path)
    mirror = Mirror(url, parse_plan(SEARCH, "mate.yaml"))
    study = Study(parse_plan(SEARCH, "mate.yaml"), mirror)
    asked = []
    for state, values in (("complete", (0.93,)), ("stopped", (0.71,)), ("failed", ()), ("complete", (0.95,))):
        item = study.ask()
        study.admit(item.number, {"trials": [f"t{item.number}"]})
        study.tell(item.number, Verdict(state, values, updates=200))  # type: ignore[arg-type]
        asked.append(item.values)
    mirror.close()

    app = optuna_dashboard.wsgi(url)
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("mate", ["maximize"])
    seen = get(app, f"/api/studies/{summary['study_id']}")
    assert [trial["state"] for trial in seen["trials"]] == ["Complete", "Pruned", "Fail", "Complete"]
    assert seen["best_trials"][0]["values"] == [0.95]
    shown = {param["name"]: param["param_external_value"] for param in seen["trials"][3]["params"]}
    assert shown == {path: str(value) for path, value in asked[3].items()}
    assert seen["trials"][3]["user_attrs"] == [{"key": "trials", "value": '["t3"]'}]

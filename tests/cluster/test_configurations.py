from collections.abc import Callable
from pathlib import Path

from limbeck.cluster.configurations import Configuration, Searched
from limbeck.cluster.mirror import Mirror
from limbeck.cluster.study import Study, Verdict
from limbeck.plan import Plan

MakePlan = Callable[..., Plan]
SMALL = """
vary:
  student.layers: {choice: [1, 2, 3]}
search: {sampler: random, trials: 10}
"""
WIDE = """
vary:
  method.mask_rate: {uniform: [0.1, 0.5]}
search: {sampler: tpe, trials: 4, startup: 2}
"""


def ignore(_: str) -> None:
    return None


def test_what_was_tried_is_not_tried_again_and_an_exhausted_space_ends_the_search(make_plan: MakePlan) -> None:
    said: list[str] = []
    study = Study(plan := make_plan(SMALL))
    searched = Searched(plan, study, said.append)
    found: list[Configuration] = []
    while (configuration := searched.next()) is not None:
        searched.admit(configuration.name, ["t"])
        found.append(configuration)
        if len(found) == 1:
            searched.ended(configuration.name, Verdict("complete", (0.9,)))
    assert sorted(c.values["student.layers"] for c in found) == [1, 2, 3]
    assert said == ["the search space holds no more than 3 different configurations"]
    for configuration in found[1:]:
        searched.ended(configuration.name, Verdict("complete", (0.5,)))
    assert not any(item.running for item in study.restore()), "repeats take the verdict of the first"


def test_a_search_ends_with_the_number_the_plan_asks_for(make_plan: MakePlan) -> None:
    searched = Searched(plan := make_plan(WIDE), Study(plan), ignore)
    names = []
    while (configuration := searched.next()) is not None:
        searched.admit(configuration.name, ["t"])
        names.append(configuration.name)
    assert names == ["0000", "0001", "0002", "0003"]
    assert not searched.left()


def test_restoring_agrees_with_the_results_whatever_the_study_lost(make_plan: MakePlan, tmp_path: Path) -> None:
    mirror = Mirror(f"sqlite:///{tmp_path / 'a.db'}", plan := make_plan(WIDE))
    study = Study(plan, mirror)
    searched = Searched(plan, study, ignore)
    first = searched.next()
    assert first
    searched.admit(first.name, ["a"])
    unheard = searched.next()
    assert unheard
    study.admit(int(unheard.name), {"cell": unheard.name})

    # The driver died: the first has ended meanwhile, the second stands in the study alone.
    again = Searched(plan, Study(plan, mirror), ignore)
    again.restore({first.name: (first.values, Verdict("complete", (0.7,)))})
    assert again.next() == unheard
    again.admit(unheard.name, ["b"])

    # It died again: the third stands in the results alone.
    third = Configuration("0002", {"method.mask_rate": 0.25})
    kept = {first.name: (first.values, None), unheard.name: (unheard.values, None), "0002": (third.values, None)}
    last = Study(plan, mirror)
    searched = Searched(plan, last, ignore)
    searched.restore(kept)
    following = searched.next()
    assert following and following.name == "0003"
    searched.admit("0003", ["d"])
    assert searched.next() is None
    assert [trial.user_attrs.get("cell") for trial in mirror.trials()] == ["0000", "0001", "0002", "0003"]
    assert mirror.trials()[0].value == 0.7
    mirror.close()

import math
from collections.abc import Callable

from cluster_toys import TOY
from rich.console import Console

from limbeck.cluster.early import Halving
from limbeck.cluster.sweep import Site, _Sweep
from limbeck.plan import Plan
from limbeck.sections import SearchConfig
from limbeck.store import NewSweep, NewTrial, open_reader, open_store

SEARCH = SearchConfig(early_stop="asha", grace=0.25, reduction=2)
"""Rungs at 0.25 and 0.5 of a trial's budget; the better half goes on."""


def test_the_lower_half_of_a_rung_stops() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.8)
    assert not halving.goes_on("b", 0.25, 0.5)
    assert halving.goes_on("c", 0.25, 0.9)


def test_small_is_good_where_the_plan_says_so() -> None:
    halving = Halving(SEARCH, "min")
    assert halving.goes_on("a", 0.25, 0.5)
    assert not halving.goes_on("b", 0.25, 0.8)
    assert halving.goes_on("c", 0.25, 0.4)


def test_no_trial_is_judged_before_its_grace_or_at_its_end() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.9)
    assert halving.goes_on("b", 0.2, 0.1)
    assert halving.goes_on("b", 1.0, 0.1)


def test_no_number_decides_nothing() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, math.nan)
    assert halving.goes_on("b", 0.25, 0.1), "it is the first on the rung"


def test_a_rung_that_was_passed_is_not_judged_again() -> None:
    halving = Halving(SEARCH, "max")
    assert halving.goes_on("a", 0.25, 0.5)
    assert halving.goes_on("b", 0.25, 0.9)
    assert halving.goes_on("a", 0.3, 0.5), "it was the first on its rung, and stays there"


def test_a_resumed_sweep_puts_trials_back_on_the_rungs_where_they_were(
    make_plan: Callable[..., Plan], site: Site
) -> None:
    more = "vary: {method.mask_rate: {uniform: [0.1, 0.5]}}\nsearch: {early_stop: asha, grace: 0.25, reduction: 2}\n"
    plan = make_plan(more, "training.updates=1000", "training.seconds=40")
    spec = plan.spec({"method.mask_rate": 0.2}, 0).model_dump(mode="json")
    with open_store(site.database) as store:
        store.add_sweep(NewSweep(plan.name, plan.text, plan.kind, plan.task, plan.objectives))
        store.add_trials(plan.name, [NewTrial("a", 0, "0000", 0, spec=spec)])
        for updates, seconds in ((20, 10.0), (40, 20.0)):
            # Its time would be over long before its updates.
            store.record_progress(plan.name, "a", updates, 1000, seconds, {"retention": updates / 100})
    with open_reader(site.database) as reader:
        rows = reader.trials(plan.name)
    halving = _Sweep(plan, site, Console(), TOY, {})._halving(rows)
    assert halving is not None
    assert not halving.goes_on("b", 0.25, 0.1), "not as good as the first evaluation"
    assert halving.goes_on("c", 0.25, 0.3) and not halving.goes_on("c", 0.5, 0.3), "nor as the second"

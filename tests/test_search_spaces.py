"""Every plan that ships is valid, and so is every plan in the page that explains them."""

import re
from pathlib import Path

import pytest

from limbeck.methods import METHODS
from limbeck.plan import load_base, load_plan, parse_plan
from limbeck.resources import search_spaces, shipped_plans

PLANS = shipped_plans()
PAGE = (search_spaces() / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", PLANS)
def test_a_shipped_plan_is_valid_and_warns_of_nothing(name: str) -> None:
    plan = load_plan(PLANS[name])
    assert plan.warnings == ()
    assert parse_plan(plan.text, name) == plan
    for cell in plan.cells():
        plan.spec(cell.values, plan.seeds[0])
    probes = {path: domain.probes()[-1] for path, domain in plan.vary.items()}
    plan.spec(probes, plan.seeds[0])
    assert load_base(PLANS[name]).kind == "single"


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_called_and_started_as_its_file_says(name: str) -> None:
    plan, first = load_plan(PLANS[name]), PLANS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# limbeck sweep search_spaces/{name}.yaml")
    if "/" in name:
        assert plan.name != Path(name).name, "a sweep's name must not hide the search of the same method"
    else:
        assert plan.name == name
    if name in METHODS:
        assert plan.spec({}, 0).method.name == name


def test_plans_have_names_of_their_own() -> None:
    names = [load_plan(path).name for path in PLANS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_page_shows_valid_plans(text: str) -> None:
    assert parse_plan(text, "README.md").warnings == ()


def test_the_page_shows_a_search_and_an_ablation() -> None:
    assert [parse_plan(text, "README.md").kind for text in EXAMPLES] == ["search", "ablation"]


def test_the_page_has_every_plan_in_one_row_and_no_other() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|")]
    told = [name for cell in rows for name in re.findall(r"`([\w/-]+)\.yaml`", cell)]
    assert [f"{name}.yaml has no row" for name in PLANS if name not in told] == []
    assert [f"{name}.yaml is not there" for name in told if name not in PLANS] == []
    assert len(told) == len(set(told))

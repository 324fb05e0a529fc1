"""A method of the table has everything that belongs to it: module, test, search space, and a card that tells all."""

import re
from pathlib import Path

import pytest

import toys
from limbeck.config import Config
from limbeck.methods import METHODS
from limbeck.noise import RowNoise
from limbeck.plan import load_plan
from limbeck.resources import search_spaces
from methods.test_contract import SETTINGS

ROOT = Path(__file__).parents[2]
SECTIONS = (
    "How to use",
    "Logged metrics",
    "Suggested values",
    "Differs from the source",
    "Attribution",
    "First result on movies",
)
CONTROLS = ("finetune", "kd", "random_mask")


def card_of(name: str) -> Path:
    return ROOT / "docs" / "methods" / f"{name}.md"


def sections(card: str) -> dict[str, str]:
    """Title -> text of each section."""
    parts = re.split(r"^## (.+)$", card, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True))


def fields(config: type[Config]) -> set[str]:
    """Names of a method's own settings, without what lies inside them."""
    return set(config.model_fields) - {"name"}


def logged(name: str) -> set[str]:
    """Every metric of the loop that the method's steps lead to."""
    method = METHODS[name](METHODS[name].Config(**SETTINGS.get(name, {})), toys.parts())
    found = {f"{kind}/{phase}" for kind in ("loss", "gradient_norm") for phase in method.trainable}
    for step in range(8):
        loss = method.loss(toys.batch(seed=step), method.phase(step), RowNoise(3, step, range(8)))
        found |= {f"loss/{part}" for part in loss.parts}
    return found


def lacks_of_card(name: str) -> list[str]:
    """What the card of a method does not tell; settings may be told by a card that it links."""
    card = card_of(name).read_text(encoding="utf-8")
    told = sections(card)
    lacks = [] if card.startswith(f"# {name}\n") else [f"title '# {name}'"]
    lacks += [f"section '{title}'" for title in SECTIONS if not told.get(title)]
    if [title for title in told if title in SECTIONS] != [title for title in SECTIONS if title in told]:
        lacks.append(f"the order {', '.join(SECTIONS)}")
    if "```yaml" not in told.get("How to use", "") or f"search_spaces/{name}.yaml" not in told.get("How to use", ""):
        lacks.append("a plan's lines in YAML, and the search space, under 'How to use'")
    if not re.search(r"^(1\. .+|There is none)", told.get("Differs from the source", ""), re.MULTILINE):
        lacks.append("numbered lines under 'Differs from the source'")
    beside = dict.fromkeys((*CONTROLS, name))
    results = told.get("First result on movies", "")
    lacks += [
        f"a line of {other} under 'First result on movies'" for other in beside if f"\n| `{other}` |" not in results
    ]
    linked = [card_of(other).read_text(encoding="utf-8") for other in re.findall(r"\]\((\w+)\.md\)", card)]
    words = set(re.findall(r"\w+", " ".join([card, *linked])))
    lacks += [f"setting {field}" for field in sorted(fields(METHODS[name].Config) - words)]
    lacks += [f"metric {metric}" for metric in sorted(logged(name)) if f"`{metric}`" not in card]
    return lacks


def lacks(name: str) -> list[str]:
    """What the method has not."""
    files = f"platform/limbeck/methods/{name}.py", f"tests/methods/test_{name}.py"
    found = [path for path in files if not (ROOT / path).is_file()]
    space = search_spaces() / f"{name}.yaml"
    if not space.is_file():
        found.append(f"search_spaces/{name}.yaml")
    elif (plan := load_plan(space)).spec({}, 0).method.name != name or not (plan.vary or name == "finetune"):
        found.append(f"search_spaces/{name}.yaml that searches {name}")
    if not card_of(name).is_file():
        return [*found, f"docs/methods/{name}.md"]
    return [*found, *(f"docs/methods/{name}.md: {lack}" for lack in lacks_of_card(name))]


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_missing(name: str) -> None:
    assert lacks(name) == []


def test_nothing_is_left_of_a_method_that_went() -> None:
    assert {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} == set(METHODS)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "nothing", METHODS["kd"])
    assert lacks("nothing") == [
        "platform/limbeck/methods/nothing.py",
        "tests/methods/test_nothing.py",
        "search_spaces/nothing.yaml",
        "docs/methods/nothing.md",
    ]

"""`--set`: which key of the file a path means, and which changes are refused."""

from typing import Any

import pytest

from limbeck.errors import UserError
from limbeck.overrides import apply_overrides, parse_overrides

RAW: dict[str, Any] = {
    "base": {"task": "movies", "method": {"name": "mate"}, "student": {"layers": 3}},
    "vary": {"method.mask_rate": {"uniform": [0.1, 0.5]}},
    "search": {"trials": 40},
}


def after(*texts: str) -> dict[str, Any]:
    return apply_overrides(RAW, parse_overrides(texts), "p.yaml")


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("training.epochs=1", ("base", "training", "epochs"), 1),
        ("base.training.epochs=1", ("base", "training", "epochs"), 1),
        ("training.learning_rate=1e-4", ("base", "training", "learning_rate"), 1e-4),
        ("task=topics", ("base", "task"), "topics"),
        ("search.trials=3", ("search", "trials"), 3),
        ("cluster.concurrent=auto", ("cluster", "concurrent"), "auto"),
        ("seeds=[0, 1]", ("seeds",), [0, 1]),
        ("name=a=b", ("name",), "a=b"),
        ("objective.selection/accuracy=max", ("objective", "selection/accuracy"), "max"),
        ("vary.method.mask_rate={uniform: [0, 1]}", ("vary", "method.mask_rate"), {"uniform": [0, 1]}),
        ("vary.method.mask_rate.uniform=[0, 1]", ("vary", "method.mask_rate", "uniform"), [0, 1]),
        ("vary.a.b.when.method.divergence=kl", ("vary", "a.b", "when", "method.divergence"), "kl"),
        ("ablate.design=factorial", ("ablate", "design"), "factorial"),
        ("ablate.factors.x={a.b: 1}", ("ablate", "factors", "x"), {"a.b": 1}),
        ("ablate.factors.x.a.b=1", ("ablate", "factors", "x", "a.b"), 1),
    ],
)
def test_a_path_is_cut_where_the_file_nests(text: str, keys: tuple[str, ...], value: Any) -> None:
    (override,) = parse_overrides([text])
    assert (override.keys, override.value) == (keys, value)


def test_changes_reach_every_section_and_leave_the_plan_alone() -> None:
    got = after("student.hidden=384", "task.name=topics", "search.trials=3", "seeds=[1]", "training.updates=null")
    assert got["base"] == {
        "task": {"name": "topics"},
        "method": {"name": "mate"},
        "student": {"layers": 3, "hidden": 384},
        "training": {"updates": None},
    }
    assert (got["search"], got["seeds"]) == ({"trials": 3}, [1])
    assert RAW["base"]["student"] == {"layers": 3}


def test_null_takes_an_entry_out() -> None:
    assert after("vary.method.mask_rate=null")["vary"] == {}
    assert "search" not in after("search=null")
    assert after("limits=null", "vary.x=null")["vary"] == RAW["vary"]


def test_a_varied_path_is_changed_in_vary() -> None:
    for text in ("method.mask_rate=0.2", "base.method.mask_rate=0.2", "method.mask_rate.x=1"):
        with pytest.raises(UserError, match=r"p.yaml varies it; change its values with --set 'vary.method.mask_rate="):
            after(text)
    fixed = after("method.mask_rate=0.2", "vary.method.mask_rate=null", "vary.student.layers={int: [1, 2]}")
    assert fixed["base"]["method"]["mask_rate"] == 0.2
    assert list(fixed["vary"]) == ["student.layers"]


def test_wrong_changes_are_told_all_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_overrides(["epochs", "=1", "a..b=1", "trainig.epochs=1", "seeds=[1", "seeds={a: 1, a: 2}"])
    assert [str(problem) for problem in caught.value.problems] == [
        "--set epochs: write it as path=value, for example training.epochs=1",
        "--set =1: write it as path=value, for example training.epochs=1",
        "--set a..b=1: write it as path=value, for example training.epochs=1",
        "--set trainig.epochs=1: no such field: 'trainig'. Did you mean 'training'?",
        "--set seeds=[1: expected ',' or ']', but got '<stream end>'",
        "--set seeds={a: 1, a: 2}: 'a' is given twice",
    ]
    with pytest.raises(UserError, match=r"'student.layers' is not a mapping"):
        after("student.layers.x=1")

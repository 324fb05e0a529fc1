"""Plans: what a file says, every fault of it at once, and that nothing but a plan or a user error comes out."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import UserError
from limbeck.plan import Plan, load_base, load_plan, parse_plan
from limbeck.yaml_strict import dump_yaml, mapping

MATE = """
name: mate
base:
  task: movies
  teacher: {base: minilm-l6}
  student: {layers: 3, hidden: 384}
  method: {name: mate, mask_rate: 0.3}
  training: {epochs: 3, batch_size: 32, learning_rate: 5e-5, precision: auto}
objective: {retention: max}
vary:
  method.generator.temperature: {uniform: [0.5, 2.0], when: {method.divergence: kl}}
  method.mask_rate: {uniform: [0.1, 0.5]}
  method.generator.learning_rate: {loguniform: [1e-7, 1e-5]}
  method.divergence: {choice: [kl, ce]}
  student.layers: {int: [1, 4]}
search: {sampler: tpe, trials: 40, early_stop: asha}
seeds: [0, 7]
cluster: {workers: 0, cpus: 1, gpus: 0, concurrent: auto}
"""
ABLATION = """
name: parts
base: {task: movies, method: {name: mate}}
ablate:
  design: leave-one-out
  factors:
    adversary: {method.generator.frozen: true}
    clean: {method.weights.distillation: 0, method.weights.adversarial: 0.5}
seeds: [0, 1, 2, 3, 4]
"""


def plan_of(text: str, *overrides: str) -> Plan:
    return parse_plan(text, "p.yaml", overrides)


def problems_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        plan_of(text, *overrides)
    return [str(problem) for problem in caught.value.problems]


def changed(text: str, section: str, value: Any) -> str:
    raw = mapping(text, "p.yaml")
    return dump_yaml({**raw, section: value} if value is not None else {k: v for k, v in raw.items() if k != section})


def test_a_search_says_what_it_varies_conditions_first() -> None:
    plan = plan_of(MATE)
    assert (plan.name, plan.kind, plan.trials, plan.seeds, plan.task) == ("mate", "search", 80, (0, 7), "movies")
    assert list(plan.vary) == [
        "method.mask_rate",
        "method.generator.learning_rate",
        "method.divergence",
        "method.generator.temperature",
        "student.layers",
    ]
    assert plan.objectives == {"retention": "max"}
    assert plan.cells() == []
    assert plan.warnings == ()


def test_values_are_laid_over_the_base_and_only_where_they_count() -> None:
    plan = plan_of(MATE)
    values = {"method.generator.temperature": 1.5, "method.divergence": "kl", "student.layers": 2}
    spec = plan.spec(values, 7)
    dump = spec.model_dump(mode="json")
    assert (dump["method"]["generator"]["temperature"], dump["method"]["mask_rate"]) == (1.5, 0.3)
    assert (spec.seed, spec.student.layers, spec.training.epochs) == (7, 2, 3.0)
    values["method.divergence"] = "ce"
    assert plan.settle(values) == {"method.divergence": "ce", "student.layers": 2}
    assert plan.spec(values, 7).model_dump(mode="json")["method"]["generator"]["temperature"] == 1.0
    assert not plan.active("method.generator.temperature", {"method.divergence": "ce"})
    assert plan.active("method.generator.temperature", {"method.divergence": "kl"})
    with pytest.raises(UserError, match=r"mate: method.mask_rate: must be less than 1, got 1.5"):
        plan.spec({"method.mask_rate": 1.5}, 0)


def test_a_child_of_an_idle_parameter_is_idle() -> None:
    vary = {
        "method.name": {"choice": ["mate", "kd"]},
        "method.divergence": {"choice": ["kl", "ce"], "when": {"method.name": "mate"}},
        "method.generator.temperature": {"choice": [1, 2], "when": {"method.divergence": "kl"}},
    }
    text = changed(changed(MATE, "base", {"task": "movies", "method": "mate"}), "vary", vary)
    plan = plan_of(changed(text, "search", {"sampler": "grid"}))
    assert [list(cell.values.values()) for cell in plan.cells()] == [
        ["mate", "kl", 1],
        ["mate", "kl", 2],
        ["mate", "ce"],
        ["kd"],
    ]
    assert plan.spec({"method.name": "kd", "method.generator.temperature": 2}, 0).method.name == "kd"


def test_every_fault_is_told_at_once_with_path_and_nearest_name() -> None:
    text = """
nam: mate
base:
  task: movis
  teacher: {bas: minilm-l6}
  student: {layers: 0}
  method: {name: mate, mask_ratte: 0.3, divergence: kll, generator: {layer: 2}, weights: [1]}
  training: {epochs: three, batch_size: 2.5}
  seed: 3
objective: {retention: maximum, latency: min, test/accuracy: max}
vary:
  method.temperatur: {uniform: [0.5, 1.5]}
  student.heads: {choice: []}
  training.warmup: {unifrom: [0, 1]}
  seed: {choice: [1, 2]}
search: {sampler: tp, trials: 0}
seeds: [0, 0]
cluster: {workers: -1, cpu: 1}
limits: {size: 3}
"""
    told = problems_of(text)
    kinds = [f"{engine}batch{size}/p{share}" for engine in ("", "onnx/") for size in (1, 32) for share in (50, 95)]
    for expected in [
        "p.yaml: nam: no such field. Did you mean 'name'?",
        "p.yaml: name: must be up to 64 letters, digits, _ . and -, the first a letter or digit; got null",
        "p.yaml: base.task: no such task: 'movis'. Did you mean 'movies'?",
        "p.yaml: base.teacher.bas: no such field. Did you mean 'base'?",
        "p.yaml: base.student.layers: must be greater than 0, got 0",
        "p.yaml: base.method.mask_ratte: no such field. Did you mean 'mask_rate'?",
        "p.yaml: base.method.divergence: must be 'kl', 'ce' or 'mse', got kll. Did you mean 'kl'?",
        "p.yaml: base.method.generator.layer: no such field. Did you mean 'layers'?",
        "p.yaml: base.method.weights: must be a mapping, got [1]",
        "p.yaml: base.training.epochs: must be a valid number, got three",
        "p.yaml: base.training.batch_size: must be a whole number, got 2.5",
        "p.yaml: base.seed: seeds stand at the top of the plan: seeds: [0]",
        "p.yaml: objective: must be one metric or two, got 3",
        "p.yaml: objective.retention: must be max or min, got maximum",
        "p.yaml: objective.latency: no such objective. Did you mean 'latency_ms'?",
        "p.yaml: objective.test/accuracy: the test split is read once, for the report; "
        "search by retention or a selection/ metric",
        "p.yaml: vary.method.temperatur: no such field. Did you mean 'temperature'?",
        "p.yaml: vary.student.heads.choice: must be a list of values, got []",
        "p.yaml: vary.training.warmup.unifrom: no such field. Did you mean 'uniform'?",
        "p.yaml: vary.seed: a seed is no hyperparameter; list seeds at the top: seeds: [0, 1, 2]",
        "p.yaml: search.sampler: must be 'tpe', 'random', 'gp', 'grid' or 'nsga2', got tp. Did you mean 'tpe'?",
        "p.yaml: search.trials: must be greater than 0, got 0",
        "p.yaml: seeds: must differ from each other, got [0, 0]",
        "p.yaml: cluster.workers: must be greater than or equal to 0, got -1",
        "p.yaml: cluster.cpu: no such field. Did you mean 'cpus'?",
        "p.yaml: limits.size: no such limit. Allowed: "
        + ", ".join(["latency_ms", *(f"latency_ms/{kind}" for kind in kinds), "parameters, parameters_non_embedding."]),
    ]:
        assert expected in told, (expected, told)


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ({"method.mask_rate": {"uniform": [0.1, 1.5]}}, "vary.method.mask_rate: must be less than 1, got 1.5"),
        ({"student.layers": {"uniform": [1, 4]}}, "vary.student.layers: must be a whole number, got 2.14"),
        ({"student.layers": {"int": [0, 2]}}, "vary.student.layers: must be greater than 0, got 0"),
        ({"method.divergence": {"choice": ["kl", "cee"]}}, "Did you mean 'ce'?"),
        ({"method.genrator.layers": {"int": [1, 2]}}, "vary.method.genrator: no such field. Did you mean 'generator'?"),
        (
            {"method.weights": {"choice": [{"adversary": 1}]}},
            "vary.method.weights.adversary: no such field. Did you mean",
        ),
        ({"method.mask_rate.x": {"choice": [1]}}, "vary.method.mask_rate.x: 'method.mask_rate' is not a mapping"),
        ({"teacher.checkpoint": {"choice": ["a"]}}, "vary.teacher: give either base"),
        ({"task": {"choice": ["movies", "topics"]}}, "vary.task: results on different tasks do not compare"),
        (
            {"student": {"choice": [{"layers": 1}]}, "student.layers": {"int": [1, 2]}},
            "vary.student.layers: 'student' is varied too and replaces it",
        ),
        (
            {"method.name": {"choice": ["kd"]}},
            "vary.method.name: with kd, method.mask_rate is wrong: no such field.",
        ),
        (
            {"student.layers": {"int": [1, 2], "when": {"student.layer": 1}}},
            "vary.student.layers.when.student.layer: no such field. Did you mean 'student.layers'?",
        ),
        (
            {"student.layers": {"int": [1, 2], "when": {"method.name": ["kd", "finetune"]}}},
            "vary.student.layers.when.method.name: never holds: it is not varied, and mate in the base",
        ),
        (
            {"student.layers": {"int": [1, 2]}, "student.heads": {"choice": [1], "when": {"student.layers": [2, 3]}}},
            "vary.student.heads.when.student.layers: 'student.layers' never takes 3",
        ),
        (
            {
                "method.mask_rate": {"uniform": [0.1, 0.2]},
                "student.heads": {"int": [1, 2], "when": {"method.mask_rate": 0.1}},
            },
            "vary.student.heads.when.method.mask_rate: it is varied over a continuous range",
        ),
        (
            {
                "student.layers": {"int": [1, 2], "when": {"student.heads": 1}},
                "student.heads": {"int": [1, 2], "when": {"student.layers": 1}},
            },
            "vary.student.layers.when: conditions in a circle: student.layers, student.heads",
        ),
        (
            {
                "method.divergence": {"choice": ["kl", "ce"]},
                "student.layers": {"int": [1, 2], "when": {"method.divergence": "kl"}},
                "student.heads": {"choice": [1], "when": {"student.layers": 1, "method.divergence": "ce"}},
            },
            "vary.student.heads.when: never holds: its conditions exclude each other",
        ),
        ({}, "vary: must name 1 to 64 paths, got 0"),
    ],
)
def test_what_is_varied_must_make_valid_trials(vary: dict[str, Any], expected: str) -> None:
    told = problems_of(changed(MATE, "vary", vary))
    assert any(expected in problem for problem in told), told


def test_values_must_go_together() -> None:
    base = {"task": "movies", "method": "glitter"}
    vary = {"method.candidates": {"choice": [2, 4, 8]}, "method.chosen": {"int": [1, 3]}}
    vary["method.weight"] = {"uniform": [0, 1]}
    assert problems_of(changed(changed(MATE, "base", base), "vary", vary)) == [
        "p.yaml: vary.method.candidates: 2 does not go with method.chosen 3: chosen (3) is more than candidates (2)",
    ]
    vary["method.candidates"] = {"choice": [4, 8]}
    assert plan_of(changed(changed(MATE, "base", base), "vary", vary)).kind == "search"


def test_a_condition_makes_a_value_valid_that_the_base_would_refuse() -> None:
    base = {"task": "movies", "method": "kd"}
    vary = {
        "method.name": {"choice": ["kd", "mate", "random_mask"]},
        "method.mask_rate": {"uniform": [0.1, 0.5], "when": {"method.name": ["mate", "random_mask"]}},
    }
    plan = plan_of(changed(changed(MATE, "base", base), "vary", vary))
    assert plan.spec({"method.name": "mate", "method.mask_rate": 0.2}, 0).method.name == "mate"
    vary["method.student_steps"] = {"int": [1, 2], "when": {"method.name": ["mate", "random_mask"]}}
    told = problems_of(changed(changed(MATE, "base", base), "vary", vary))
    assert len(told) == 1
    assert "vary.method.student_steps: no such field" in told[0]  # random_mask has none


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["objective={retention: max, latency_ms: min}"], "search.early_stop: asha ranks by one number"),
        (
            ["objective={retention: max, latency_ms: min}", "search={sampler: gp}"],
            "search.sampler: gp serves one objective; with two set sampler: nsga2 or tpe",
        ),
        (["objective={parameters: min}"], "search.early_stop: asha needs an objective that is measured while"),
        (["search.sampler=grid"], "search.trials: a grid runs every combination"),
        (["search={sampler: grid}"], "vary.method.mask_rate: a grid needs choices, whole numbers or a step"),
        (["vary=null"], "search: has nothing to vary"),
        (["tasks=[movies]"], "tasks: a search has one task"),
        (["ablate={design: factorial, factors: {a: {student.layers: 2}}}"], "vary: does not go with ablate"),
        (
            ["name=../x"],
            "name: must be up to 64 letters, digits, _ . and -, the first a letter or digit",
        ),
        (["base=null"], "base: is missing: one complete trial"),
        (["method={name: [1]}"], "base.method.name: must be text, got [1]"),
        (["method={name: mat}"], "base.method: no such method: 'mat'. Did you mean 'mate'?"),
        (["limits.parameters=-1"], "limits.parameters: must be a number above 0, got -1"),
    ],
)
def test_sections_must_go_together(overrides: list[str], expected: str) -> None:
    told = problems_of(MATE, *overrides)
    assert any(expected in problem for problem in told), told


def test_two_objectives_are_searched_by_tpe_or_nsga2() -> None:
    for sampler in ("tpe", "nsga2"):
        for cost in ("latency_ms", "latency_ms/batch32/p95", "latency_ms/onnx/batch1/p50", "parameters"):
            objective = f"objective={{retention: max, {cost}: min}}"
            plan = plan_of(MATE, objective, f"limits={{{cost}: 5}}", f"search={{sampler: {sampler}}}")
            assert plan.objectives == {"retention": "max", cost: "min"}
            assert plan.limits == {cost: 5.0}
        assert plan.search.early_stop == "none"
    assert "objective.retention: min looks for the worst" in plan_of(MATE, "objective.retention=min").warnings[0]


def test_a_grid_runs_every_combination() -> None:
    vary = {"student.layers": {"int": [1, 3], "step": 2}, "method.mask_rate": {"uniform": [0.1, 0.3], "step": 0.1}}
    plan = plan_of(changed(changed(MATE, "vary", vary), "search", {"sampler": "grid"}))
    assert (plan.kind, plan.trials) == ("grid", 12)
    assert [cell.values for cell in plan.cells()][:4] == [
        {"student.layers": 1, "method.mask_rate": 0.1},
        {"student.layers": 1, "method.mask_rate": 0.2},
        {"student.layers": 1, "method.mask_rate": 0.3},
        {"student.layers": 3, "method.mask_rate": 0.1},
    ]
    assert plan.cells()[0].name == "student.layers=1 method.mask_rate=0.1"
    vary = {
        f"method.weights.{name}": {"choice": [i / 100 for i in range(60)]} for name in ("distillation", "adversarial")
    }
    vary["student.layers"] = {"int": [1, 4]}
    told = problems_of(changed(changed(MATE, "vary", vary), "search", {"sampler": "grid"}))
    assert told == ["p.yaml: vary: makes up to 14,400 cells; at most 10,000"]


def test_cells_whose_long_values_begin_alike_have_names_of_their_own() -> None:
    folder = "/storage/of/the/whole/department/models/that/are/ready/2026"
    choices = [f"{folder}/{name}" for name in ("a", "b", "c")]
    vary = {"teacher.checkpoint": {"choice": choices}, "student.layers": {"choice": [1, 2]}}
    raw = changed(changed(MATE, "vary", vary), "search", {"sampler": "grid"}).replace("base: minilm-l6", "epochs: 1")
    names = [cell.name for cell in plan_of(raw).cells()]
    assert len(set(names)) == len(names) == 6
    assert names[0] == f"teacher.checkpoint={folder[:59]}… student.layers=1"
    assert all(name.startswith(f"teacher.checkpoint={folder[:59]}… student.layers=") for name in names)
    assert names == [cell.name for cell in plan_of(raw).cells()]


def test_a_single_configuration_runs_over_seeds_and_tasks() -> None:
    plan = plan_of("name: one\nbase: {method: kd}\ntasks: [movies, {name: topics}]\nseeds: [3, 4]\n")
    assert (plan.kind, plan.trials, plan.task) == ("single", 4, "movies")
    assert [(cell.name, cell.task) for cell in plan.cells()] == [("base@movies", "movies"), ("base@topics", "topics")]
    assert plan.spec(plan.cells()[1].values, 3).task.name == "topics"
    told = problems_of("name: one\nbase: {method: kd}\ntasks: [movies, topic, movies]\n")
    assert told == [
        "p.yaml: tasks.1: no such task: 'topic'. Did you mean 'topics'?",
        "p.yaml: tasks: movies is given twice",
    ]


def test_an_ablation_warns_of_few_seeds() -> None:
    assert plan_of(ABLATION).warnings == ()
    assert plan_of(ABLATION, "seeds=[0, 1, 2, 3]").warnings == (
        "seeds: an ablation with 4 seeds proves little; list 5 or more",
    )


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        (
            {"a": {"method.generator.frozzen": True}},
            "ablate.factors.a.method.generator.frozzen: no such field. Did you mean",
        ),
        ({"a": {"method.mask_rate": 3}}, "ablate.factors.a.method.mask_rate: must be less than 1, got 3"),
        ({"a": {"seed": 3}}, "ablate.factors.a.seed: a seed is no factor"),
        ({"a": {}}, "ablate.factors.a: changes nothing"),
        ({"a": {"method.mask_rate": 0.3}}, "ablate: cell 'a' is the same trial as 'reference'"),
        ({"reference": {"method.mask_rate": 0.2}}, "ablate.factors.reference: a factor's name is"),
        ({"a+b": {"method.mask_rate": 0.2}}, "ablate.factors.a+b: a factor's name is"),
        ({}, "ablate.factors: must have at least 1 item"),
        ([1], "ablate.factors: must be a mapping, got [1]"),
    ],
)
def test_factors_must_change_the_trial(factors: Any, expected: str) -> None:
    told = problems_of(changed(ABLATION, "ablate", {"design": "leave-one-out", "factors": factors}))
    assert any(expected in problem for problem in told), told


def test_the_text_is_the_whole_plan() -> None:
    for text, overrides in [
        (MATE, ["training.epochs=1", "vary.student.layers={choice: [1, 2]}", "limits={parameters: 8e6}"]),
        (ABLATION, ["tasks=[movies, topics]"]),
        ("name: one\nbase: {task: movies, method: kd}\n", []),
    ]:
        plan = plan_of(text, *overrides)
        again = parse_plan(plan.text, "database")
        assert again == plan
        assert (again.hash, again.text) == (plan.hash, plan.text)
    assert plan_of(MATE).hash != plan_of(MATE, "training.epochs=1").hash
    assert plan_of(MATE).hash == plan_of(MATE.replace("5e-5", "0.00005")).hash


def test_a_file_is_named_and_its_paths_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "my-plan.yaml"
    path.write_text("base: {task: {files: {train: a.csv, test: /b.csv}}, method: kd}\n")
    plan = load_plan(path, folder=Path("/data"))
    assert plan.name == "my-plan"
    assert plan.base["task"]["files"] == {"train": "/data/a.csv", "test": "/b.csv"}
    assert parse_plan(plan.text, "x") == plan
    path.write_text("base: {task: movies, method: kdd}\n")
    with pytest.raises(UserError) as caught:
        load_plan(path)
    assert str(caught.value) == f"{path}: base.method: no such method: 'kdd'. Did you mean 'kd'?"


BESIDE = """
name: mine
base:
  task: {hub: reviews, text: text}
  teacher: {base: encoder}
  student: {checkpoint: small}
  method: {name: mate, generator: {base: some/model}}
  sources: [{hub: nyu-mll/glue, config: sst2}, {files: {train: more.csv}}]
vary:
  teacher.base: {choice: [encoder, minilm-l6, /models/large]}
  method.generator.base: {choice: [encoder, some/model], when: {teacher.base: [encoder, minilm-l6]}}
search: {sampler: random, trials: 4}
"""


def test_folders_of_models_and_data_that_are_there_are_made_whole(tmp_path: Path) -> None:
    for name in ("reviews", "encoder", "small", "minilm-l6", "nyu-mll/glue"):
        (tmp_path / name).mkdir(parents=True)
    plan = parse_plan(BESIDE, "p.yaml", folder=tmp_path)
    encoder, base = str(tmp_path / "encoder"), plan.base
    assert (base["task"]["hub"], base["student"]["checkpoint"]) == (str(tmp_path / "reviews"), str(tmp_path / "small"))
    assert (base["teacher"]["base"], base["method"]["generator"]["base"]) == (encoder, "some/model")
    assert base["sources"][0]["hub"] == "nyu-mll/glue"
    assert base["sources"][1]["files"]["train"] == str(tmp_path / "more.csv")
    assert plan.vary["teacher.base"].values == (encoder, "minilm-l6", "/models/large")
    assert plan.vary["method.generator.base"].values == (encoder, "some/model")
    assert plan.vary["method.generator.base"].when == {"teacher.base": (encoder, "minilm-l6")}
    assert parse_plan(plan.text, "again", folder=Path("/elsewhere")) == plan
    assert parse_plan(BESIDE, "p.yaml").base["teacher"]["base"] == "encoder"
    assert parse_plan(BESIDE.replace("small", "s" * 999), "p.yaml", folder=tmp_path)


def test_the_base_alone_takes_what_the_plan_varies(tmp_path: Path) -> None:
    path = tmp_path / "mate.yaml"
    path.write_text(MATE)
    plan = load_base(path, ["method.mask_rate=0.2"])
    assert (plan.kind, plan.trials) == ("single", 2)
    assert plan.spec({}, 0).model_dump()["method"]["mask_rate"] == 0.2
    path.write_text(
        MATE.replace("sampler: tpe", "sampler: tpee").replace("mask_rate: {uniform", "mask_rates: {uniform")
    )
    around = ["search.trials=5", "vary.method.mask_rate=null", "vary.method.divergence={choice: [kl]}", "seeds=[3]"]
    plan = load_base(path, ["method.mask_rate=0.2", *around])
    assert (plan.kind, plan.seeds) == ("single", (3,))


def test_the_base_alone_is_on_the_first_task_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("tasks: [movies, topics]\nbase: {method: kd}\n")
    assert load_base(path).spec({}, 0).task.name == "movies"
    assert load_base(path, ["task=topics"]).spec({}, 0).task.name == "topics"
    assert load_base(path, ["tasks=[topics, movies]"]).spec({}, 0).task.name == "topics"


_odd = st.sampled_from(
    [
        *(
            None,
            True,
            0,
            -1,
            2.5,
            1e308,
            2**62,
            "",
            "x",
            "no",
            "../x",
            [],
            [[]],
            [0, 1],
            [1e308, -1e308],
            {},
            {"a": {}},
        ),
        *({"uniform": [0, 1]}, {"int": [0, 2**62]}, {"choice": [[1], {"a": 1}]}, {"loguniform": [5e-324, 1e308]}),
        *({"uniform": [-1e308, 1e308], "step": 1e-300}, {"uniform": [0, 1], "when": {"student": [None, {}]}}),
    ]
).map(copy.deepcopy)


def _places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [keys, *(place for key, item in below for place in _places(item, (*keys, key)))]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([MATE, ABLATION]), st.data())
def test_a_plan_with_odd_values_is_a_plan_or_a_user_error(text: str, data: st.DataObject) -> None:
    raw = copy.deepcopy(mapping(text, "p.yaml"))
    for _ in range(data.draw(st.integers(1, 2))):
        *front, last = data.draw(st.sampled_from(_places(raw)[1:]))
        here: Any = raw
        for key in front:
            here = here[key]
        here[last] = data.draw(_odd)
    _plan_or_user_error(dump_yaml(raw))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([MATE, ABLATION]), st.data())
def test_a_plan_with_odd_text_is_a_plan_or_a_user_error(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 8))
    _plan_or_user_error(text[:at] + data.draw(st.text(max_size=8)) + text[at + cut :])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=12) | st.from_regex(r"[a-z.]{1,12}=[\[\]{}a0:, ]{0,8}", fullmatch=True), max_size=3))
def test_any_override_gives_a_plan_or_a_user_error(overrides: list[str]) -> None:
    _plan_or_user_error(MATE, *overrides)


def _plan_or_user_error(text: str, *overrides: str) -> None:
    try:
        plan = plan_of(text, *overrides)
    except UserError as error:
        assert error.problems
    else:
        assert parse_plan(plan.text, "again") == plan
        for cell in plan.cells()[:3]:
            plan.spec(cell.values, plan.seeds[0])

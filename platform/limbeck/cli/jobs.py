"""`limbeck submit`, `jobs`, `logs` and `stop`: sweeps on a cluster that this machine is no part of."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.cli.places import Commands, add_command, add_json
from limbeck.cli.plans import load
from limbeck.cli.sweep import add_sweep, extra
from limbeck.errors import Problem, UserError

if TYPE_CHECKING:
    from limbeck.cluster.jobs import Cluster, Driver, Job

_ADDRESS = "RAY_API_SERVER_ADDRESS"
_WHO = "The cluster's token is read from RAY_AUTH_TOKEN, or from the file RAY_AUTH_TOKEN_PATH; it is never printed."


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "submit",
        "run a plan as a job of a Ray cluster, with this package and the files that the plan names",
        _submit,
        [
            "limbeck submit mate --address http://head:8265 --home /shared/runs",
            "limbeck submit mine.yaml --address http://head:8265 --home /shared/runs --wait",
            "limbeck submit --resume mate --address http://head:8265 --home /shared/runs",
        ],
    )
    add_sweep(parser)
    add_address(parser)
    add_cluster_places(parser)
    parser.add_argument(
        "--driver-cpus", type=float, default=0.0, metavar="N", help="CPUs the driver takes, off a head that has none"
    )
    parser.add_argument(
        "--driver-resource",
        metavar="NAME",
        help="a resource of the nodes that the driver may run on, instead of the head",
    )
    parser.add_argument("--wait", action="store_true", help="follow the job, and end with its exit code")

    parser = add_command(
        commands, "jobs", "list a cluster's jobs, newest first", _jobs, ["limbeck jobs --address http://head:8265"]
    )
    add_address(parser)
    add_json(parser)

    parser = add_command(
        commands,
        "logs",
        "print what a job has said",
        _logs,
        ["limbeck logs mate --address http://head:8265 --follow"],
    )
    _add_job(parser)
    parser.add_argument("--follow", action="store_true", help="go on until the job ends")

    parser = add_command(
        commands,
        "stop",
        "ask a job to end in good order; its sweep can be resumed",
        _stop,
        ["limbeck stop mate --address http://head:8265"],
    )
    _add_job(parser)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the address of a cluster's job server."""
    parser.add_argument(
        "--address", metavar="URL", help=f"the cluster's dashboard, http://HEAD:8265 (default: {_ADDRESS})"
    )
    parser.epilog = f"{parser.epilog}\n\n{_WHO}"


def add_cluster_places(parser: argparse.ArgumentParser) -> None:
    """Add places on the cluster: this machine's own LIMBECK_HOME and LIMBECK_DATABASE mean nothing there."""
    parser.add_argument(
        "--home", metavar="DIR", help="where runs are kept there (default: LIMBECK_HOME on the cluster)"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="results database, without a password (default: LIMBECK_DATABASE on the cluster)",
    )


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a job's id, or a sweep's name for its newest job")
    add_address(parser)


def connect(arguments: argparse.Namespace) -> "Cluster":
    """Return the job server at the address. UserError: it does not answer, or refuses the token."""
    address = arguments.address or os.environ.get(_ADDRESS)
    if not address:
        raise UserError(Problem("--address", "give the address of the cluster's dashboard, such as http://head:8265"))
    from limbeck.cluster.jobs import Cluster, travels_in_the_open

    if travels_in_the_open(address):
        print(f"warning: the token goes to {address} unencrypted; a tunnel or https keeps it", file=sys.stderr)
    return Cluster(address)


def _submit(arguments: argparse.Namespace) -> int:
    if arguments.plan is None and arguments.resume is None:
        raise UserError(Problem("submit", "give a plan file, the name of a shipped plan, or --resume NAME"))
    if arguments.resume is not None:
        arguments.name = arguments.resume
    plan = load(arguments, extra(arguments)) if arguments.plan is not None else None
    name = plan.name if plan is not None else arguments.resume
    from limbeck.cluster.jobs import sweep_command
    from limbeck.cluster.upload import pack

    command = sweep_command(arguments.home, arguments.database, arguments.resume, plan=plan is not None)
    upload = pack(plan, Path.cwd())
    driver = _driver(arguments)
    cluster = connect(arguments)
    print(f"uploading {upload.words}", file=sys.stderr)
    job = cluster.submit(name, command, upload, driver)
    print(job)
    if arguments.wait:
        return watch(cluster, job)
    print(f"next:\n  limbeck logs {job} --follow --address {cluster.address}", file=sys.stderr)
    print(f"  limbeck stop {job} --address {cluster.address}", file=sys.stderr)
    return 0


def _driver(arguments: argparse.Namespace) -> "Driver":
    from limbeck.cluster.jobs import Driver

    if arguments.driver_cpus < 0:
        raise UserError(Problem("--driver-cpus", f"must be 0 or more, got {arguments.driver_cpus:g}"))
    # A hair of it is enough: the driver has to be there, and must not take what trials ask for.
    resources = {arguments.driver_resource: 0.001} if arguments.driver_resource else {}
    return Driver(arguments.driver_cpus, resources)


def watch(cluster: "Cluster", job: str) -> int:
    """Print what a job says until it ends; return its exit code. Ctrl-C leaves the job running."""
    from limbeck.cluster.jobs import exit_code

    try:
        for lines in cluster.follow(job):
            print(lines, end="", flush=True)
        ended = cluster.ended(job)
    except KeyboardInterrupt:
        print(f"\nthe job goes on: limbeck stop {job} --address {cluster.address} ends it", file=sys.stderr)
        return 130
    if ended.state == "failed" and ended.exit_code is None:
        print(f"the job failed: {ended.message}", file=sys.stderr)
    return exit_code(ended)


def _jobs(arguments: argparse.Namespace) -> int:
    jobs = connect(arguments).jobs()
    if arguments.json:
        print(json.dumps([_json(job) for job in jobs], indent=1))
        return 0
    from limbeck.cli.results import print_table
    from limbeck.report import Column, Table

    names = ("job", "sweep", "state", "started", "ended")
    rows = tuple((job.id, job.sweep, job.state, _shown(job.started), _shown(job.ended)) for job in jobs)
    print_table(Table(tuple(Column(name) for name in names), rows))
    return 0


def _json(job: "Job") -> dict[str, object]:
    times = {name: value and value.isoformat() for name, value in (("started", job.started), ("ended", job.ended))}
    return {"job": job.id, "sweep": job.sweep, "state": job.state, **times, "exit_code": job.exit_code}


def _shown(time: object) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _logs(arguments: argparse.Namespace) -> int:
    cluster = connect(arguments)
    job = cluster.find(arguments.job)
    if not arguments.follow:
        print(cluster.logs(job.id), end="")
        return 0
    try:
        for lines in cluster.follow(job.id):
            print(lines, end="", flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    cluster = connect(arguments)
    job = cluster.find(arguments.job)
    if job.over or not cluster.stop(job.id):
        print(f"{job.id} had ended before: {job.state}")
        return 0
    ended = cluster.ended(job.id)
    print(f"{job.id}: {ended.state}")
    if job.sweep and ended.state == "stopped":
        print(f"next:\n  limbeck submit --resume {job.sweep} --address {cluster.address}", file=sys.stderr)
    return 0

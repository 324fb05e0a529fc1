"""Sweeps as jobs of a cluster, by Ray's job server: one job a sweep."""

import asyncio
import os
import shlex
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from limbeck import __version__
from limbeck.cluster.probe import Finding
from limbeck.cluster.session import OPEN, environment, quiet, refused_token
from limbeck.cluster.upload import PLAN_FILE, Upload
from limbeck.errors import Problem, UserError, did_you_mean
from limbeck.store.database import holds_password

_SWEEP = "limbeck_sweep"
_OURS = "limbeck_version"
_STOP_SECONDS = 60
"""How long a driver may take to leave in good order; Ray's default of 3 s would cut it short."""
_POLL_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_NO_HOME = "give submit a --home that every node sees, or set LIMBECK_HOME on the cluster"
_ELSEWHERE = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""By these Ray would go to another cluster than the one it was told."""


@dataclass(frozen=True)
class Driver:
    """Where a job's own process runs: on the head, unless it asks for something that the head lacks."""

    cpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One job as the cluster lists it."""

    id: str
    sweep: str
    state: str
    """pending, running, stopped, succeeded or failed."""
    started: datetime | None
    ended: datetime | None
    message: str
    exit_code: int | None
    """Of the driver, where it has ended."""

    @property
    def over(self) -> bool:
        return self.state in ("stopped", "succeeded", "failed")


def sweep_command(home: str | None, database: str | None, resume: str | None, *, plan: bool) -> str:
    """Return the shell command that runs a sweep on the cluster. UserError: it would show a password to everybody."""
    what = [PLAN_FILE, "--keep-files"] if plan else []
    words = ["python", "-m", "limbeck.cli", "sweep", *what, "--address", "auto"]
    return _at(words + (["--resume", resume] if resume else []), home, database)


def doctor_command(home: str | None, database: str | None, *, plan: bool) -> str:
    """Return the shell command that examines the cluster from inside."""
    words = ["python", "-m", "limbeck.cli", "doctor", *([PLAN_FILE] if plan else []), "--address", "auto"]
    return _at(words, home, database)


def _at(words: list[str], home: str | None, database: str | None) -> str:
    """Add the places. What is not given comes from the cluster's own environment variables."""
    if home is not None and "://" not in home and not Path(home).is_absolute():
        raise UserError(Problem("--home", f"give an absolute path that every node sees, got '{home}'"))
    if database is not None and holds_password(database):
        what = (
            "all users of the cluster can read a job's command, so it must not hold a password: leave it out, and set"
        )
        raise UserError(Problem("--database", f"{what} PGPASSWORD (or LIMBECK_DATABASE as a whole) on the cluster"))
    places = f"--home {shlex.quote(home)}" if home else f'--home "${{LIMBECK_HOME:?{_NO_HOME}}}"'
    return f"{shlex.join(words)} {places}" + (f" --database {shlex.quote(database)}" if database else "")


class Cluster:
    """A cluster's job server. Ray takes the token from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or its own file."""

    def __init__(self, address: str) -> None:
        if urlsplit(address).scheme not in ("http", "https"):
            what = f"give the address of the cluster's dashboard, such as http://head:8265; got '{address}'"
            raise UserError(Problem("--address", what))
        self.address = address
        with self._explained(), environment(dict.fromkeys(_ELSEWHERE)):
            self._client = JobSubmissionClient(address)

    def manners(self) -> list[Finding]:
        """Say whether the job server answers, runs our Ray, and keeps strangers out."""
        with self._explained():
            stranger = requests.get(f"{self.address}/api/jobs/", timeout=_ANSWER_SECONDS)
            there = requests.get(f"{self.address}/api/version", headers=self._client._headers, timeout=_ANSWER_SECONDS)
            version = there.json().get("ray_version", "?")
        found = [Finding("ray", f"{self.address} answers, Ray {version}")]
        if version != ray.__version__:
            mend = f"install ray=={version} here, or {ray.__version__} there: limbeck runs on {ray.__version__}"
            found = [Finding("ray", f"Ray {version} there, {ray.__version__} here", mend)]
        if stranger.ok:
            return [*found, Finding("token", f"{self.address} lets everybody run commands", OPEN)]
        return [*found, Finding("token", f"{self.address} turns those away that have none")]

    def submit(self, name: str, command: str, upload: Upload, driver: Driver) -> str:
        """Upload the archive, where the cluster does not have it yet, and start a job. Returns the job's id."""
        with self._explained(), tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "limbeck.zip"
            archive.write_bytes(upload.data)
            job: str = self._client.submit_job(
                entrypoint=command,
                submission_id=f"limbeck-{name}-{uuid.uuid4().hex[:8]}",
                metadata={_SWEEP: name, _OURS: __version__},
                runtime_env={
                    "working_dir": str(archive),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)},
                },
                entrypoint_num_cpus=driver.cpus or None,
                entrypoint_resources=dict(driver.resources) or None,
            )
        return job

    def jobs(self) -> list[Job]:
        """Return limbeck's jobs, newest first."""
        with self._explained():
            found = [_job(details) for details in self._client.list_jobs() if _OURS in (details.metadata or {})]
        return sorted(found, key=lambda job: job.started or datetime.max.replace(tzinfo=UTC), reverse=True)

    def find(self, word: str) -> Job:
        """Return the job of that id, or the newest of the sweep of that name. UserError: there is none."""
        jobs = self.jobs()
        for job in jobs:
            if word in (job.id, job.sweep):
                return job
        names = {name for job in jobs for name in (job.id, job.sweep)}
        hint = did_you_mean(word, names) if names else "There are no jobs of limbeck's yet."
        raise UserError(Problem(word, f"no such job or sweep on {self.address}. {hint}"))

    def logs(self, job: str) -> str:
        """Return what a job has said so far."""
        with self._explained():
            said: str = self._client.get_job_logs(job)
        return said

    def follow(self, job: str) -> Iterator[str]:
        """Yield what a job says, from the beginning, until it ends."""
        loop = asyncio.new_event_loop()
        lines = self._client.tail_job_logs(job)
        try:
            with self._explained():
                while (line := loop.run_until_complete(anext(lines, None))) is not None:
                    yield line
        finally:
            loop.run_until_complete(lines.aclose())
            loop.close()

    def ended(self, job: str) -> Job:
        """Wait until a job has ended."""
        while True:
            with self._explained():
                found = _job(self._client.get_job_info(job))
            if found.over:
                return found
            time.sleep(_POLL_SECONDS)

    def stop(self, job: str) -> bool:
        """Ask a job to leave in good order; False when it had ended before."""
        with self._explained():
            stopped: bool = self._client.stop_job(job)
        return stopped

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a user can mend into a UserError; Ray's loggers keep quiet."""
        try:
            with quiet():
                yield
        except AuthenticationError:
            raise UserError(refused_token(self.address)) from None
        except (OSError, aiohttp.ClientError) as error:
            said = f"no job server answers at {self.address} ({type(error).__name__}): is this the dashboard's address?"
            raise UserError(Problem("--address", said)) from None
        except RuntimeError as error:
            raise UserError(Problem(self.address, str(error).strip().splitlines()[0])) from None


def exit_code(job: Job) -> int:
    """Return what `limbeck submit --wait` ends with: the driver's own code, 130 for a job that was stopped."""
    if job.state == "stopped":
        return 130
    return job.exit_code if job.exit_code is not None else int(job.state != "succeeded")


def travels_in_the_open(address: str) -> bool:
    """Say whether a token sent to this address can be read on the way."""
    parts = urlsplit(address)
    token = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return token and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")


def _job(details: JobDetails) -> Job:
    state = details.status.value.lower() if isinstance(details.status, JobStatus) else str(details.status).lower()
    return Job(
        id=details.submission_id or "",
        sweep=(details.metadata or {}).get(_SWEEP, ""),
        state=state,
        started=_time(details.start_time),
        ended=_time(details.end_time),
        message=(details.message or "").strip(),
        exit_code=details.driver_exit_code,
    )


def _time(milliseconds: Any) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)

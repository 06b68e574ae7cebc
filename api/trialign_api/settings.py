"""What the operator decides. Every field is an environment variable TRIALIGN_<FIELD> too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trialign_api.confined import Limits
from trialign_ray.config.base import Strict, parse

_PREFIX = "TRIALIGN_"


class Settings(Strict):
    """The control plane's configuration."""

    data: Path = Path("trialign-data")
    """The service's own storage: the SQLite file, uploaded datasets, copies of logs and metrics."""
    database: str = ""
    """SQLAlchemy URL, such as postgresql+asyncpg://user@host/name; empty for SQLite in `data`."""
    ray_address: str = "http://127.0.0.1:8265"
    """URL of Ray's job server (the dashboard)."""
    ray_here: bool = False
    """Whether Ray runs on the service's own machine and nowhere else, as the one that `serve` starts: then a dry run
    says whether a training run fits into that machine's memory."""
    dashboard_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """URL of Ray's dashboard for browsers; empty links to `ray_address` where that is this machine."""
    workspace: str = "."
    """Where jobs write runs and collected logs, and what relative paths in a specification start from."""
    private_workspaces: bool = False
    """Whether each owner has `<workspace>/<owner>` and nothing else of it.

    Off, as for one person on one machine, all who may submit share the workspace and can replace each other's logs.
    """
    roots: tuple[str, ...] = ()
    """Folders or URI prefixes from which a specification may read, besides `workspace` and the service's datasets."""
    endpoints: tuple[str, ...] = ()
    """Base URLs of servers that a specification may have asked ('endpoint.url'). None by default: a job asks from
    inside the cluster's network, where a caller's URL could reach what no caller may."""
    python: str = "python"
    """The interpreter of jobs on the cluster; trialign_ray is installed there."""

    active_jobs: int = Field(default=4, ge=1, le=10_000)
    """Jobs that Ray holds at once; the others wait in the queue."""
    owner_active_jobs: int = Field(default=3, ge=1, le=10_000)
    """Of those, most of one owner. Fewer than `active_jobs` leave a place to others, whatever one owner submits."""
    owner_shares: dict[str, Annotated[float, Field(gt=0, le=1000)]] = {}
    """Owner -> how many times the others' share of the places it gets while all wait; 1 of one that is not named."""
    keep_runs_days: float = Field(default=0.0, ge=0)
    """After so long a job that is over is deleted with its run, its log and its metrics; 0 keeps them."""
    keep_uploads_days: float = Field(default=0.0, ge=0)
    """After so long an upload that no job which is not over reads is deleted; 0 keeps them."""
    owner_jobs: int = Field(default=200, ge=1)
    """Most jobs of one owner that are not over."""
    owner_bytes: int = Field(default=100 << 30, ge=1)
    """Most bytes of one owner's uploads."""
    run_seconds: float = Field(default=604_800.0, gt=0)
    """How long one attempt of a job may run before it is stopped, after a checkpoint."""
    retry_seconds: float = Field(default=10.0, ge=0, le=3600)
    """Before the first retry; twice as long before each further one, at most an hour."""
    retries: int = Field(default=2, ge=0, le=20)
    """Automatic retries of a job that does not ask for another number."""
    stop_seconds: int = Field(default=120, ge=1, le=3600)
    """How long a stopped job has for its last checkpoint (RAY_JOB_STOP_WAIT_TIME_S)."""
    reconcile_seconds: float = Field(default=2.0, gt=0, le=60)
    grace_seconds: float = Field(default=60.0, ge=0, le=86_400)
    """How long Ray may answer that it does not know a job before that has failed with `cluster_lost`."""
    outage_seconds: float = Field(default=1800.0, ge=0, le=604_800)
    """How long Ray may fail to answer, or to take a submission, before its jobs are given up."""
    lease_seconds: float = Field(default=15.0, gt=0, le=600)
    """A reconciler that has not renewed its lease for so long is replaced."""
    ray_timeout_seconds: float = Field(default=20.0, gt=0, le=300)
    import_external: bool = True
    """Whether jobs that were submitted by `ray job submit` are listed."""

    requests_per_second: float = Field(default=50.0, gt=0)
    """Long-run limit of requests of one key, and of unknown keys from one address."""
    request_burst: int = Field(default=100, ge=1)
    requests_at_once: int = Field(default=128, ge=1)
    """Requests of one key that may be under way at once, log streams and downloads included."""
    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose X-Forwarded-For is believed. None by default: any client can send the header."""
    body_bytes: int = Field(default=1 << 20, ge=1 << 10)
    """Most bytes of a request's body."""
    upload_bytes: int = Field(default=8 << 30, ge=1 << 10)
    """Most bytes of an uploaded dataset."""
    upload_seconds: int = Field(default=86_400, ge=60)
    """How long an upload in parts may take from its first request to its last."""
    check_bytes: int = Field(default=2 << 30, ge=1 << 29)
    """Memory of the process that opens the files of one specification, or one upload."""
    check_seconds: int = Field(default=30, ge=1, le=3600)
    """How long it may compute on the files of one specification."""
    import_seconds: int = Field(default=3600, ge=1, le=86_400)
    """How long it may compute on one upload."""
    log_bytes: int = Field(default=256 << 20, ge=1 << 10)
    """Most bytes kept of one attempt's log."""

    @property
    def database_url(self) -> str:
        """The database, the embedded one where none is named."""
        return self.database or f"sqlite+aiosqlite:///{(self.data / 'control.db').resolve()}"

    @property
    def checks(self) -> Limits:
        """What the check of one specification may take; it writes nothing."""
        return Limits(self.check_bytes, _waiting(self.check_seconds), self.check_seconds, 1 << 20)

    @property
    def imports(self) -> Limits:
        """What the import of one upload may take: its dataset and its rejects are seldom longer than the upload."""
        seconds = self.import_seconds
        return Limits(self.check_bytes, _waiting(seconds), seconds, 2 * self.upload_bytes)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **changes: Any) -> Settings:
        """Read TRIALIGN_<FIELD>, lists separated by commas; `changes` win. Raises SpecError."""
        env = os.environ if env is None else env
        given: dict[str, Any] = {name: env[key] for name in cls.model_fields if (key := _PREFIX + name.upper()) in env}
        for name in ("roots", "endpoints", "proxies"):
            if name in given:
                given[name] = tuple(part for part in given[name].split(",") if part)
        if "owner_shares" in given:
            given["owner_shares"] = dict(part.partition("=")[::2] for part in given["owner_shares"].split(",") if part)
        return parse(cls, {**given, **changes}, f"environment {_PREFIX}*")


def _waiting(cpu_seconds: int) -> float:
    """Of the clock: a busy machine is slow, and storage that takes a minute longer hangs."""
    return 4.0 * cpu_seconds + 60.0

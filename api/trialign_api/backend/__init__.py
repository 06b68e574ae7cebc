"""Where jobs run: a narrow Protocol, and Ray Jobs behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from trialign_ray.errors import TrialignError


class RayStatus(StrEnum):
    """Ray's word for where a submission stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """Whether it stays so."""
        return self in (RayStatus.STOPPED, RayStatus.SUCCEEDED, RayStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt of one job, as the backend is told of it."""

    submission_id: str
    module: str
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    cpus: float = 0.0
    """What its own process asks for, besides what it starts on the cluster. Without any it runs on the head."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the backend knows of one submission."""

    submission_id: str
    status: RayStatus
    message: str = ""
    error_type: str | None = None
    exit_code: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    entrypoint: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What the cluster has."""

    ray_version: str
    nodes: int | None
    resources: Mapping[str, float]


class SubmissionRefusedError(TrialignError):
    """The cluster answered that it will never take this submission."""

    code = "submission_refused"


class JobsBackend(Protocol):
    """Runs submissions. Every method raises ClusterError where the cluster does not answer in time."""

    dashboard: str
    """For people; no credentials in it."""

    async def submit(self, submission: Submission) -> None:
        """Start it. Submitting the same id again changes nothing and is no error. Raises SubmissionRefusedError too."""
        ...

    async def list(self) -> list[Record]:
        """Every submission that the cluster remembers, whoever made it."""
        ...

    async def stop(self, submission_id: str) -> None:
        """Ask it to end; it may take its time. One that has ended or is not known is no error."""
        ...

    async def logs(self, submission_id: str) -> str:
        """All that it has written so far."""
        ...

    async def cluster(self) -> ClusterState:
        """What the cluster has now."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...

"""What to do about one job: a pure function of its row, what Ray reports, and the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from trialign_api.backend import RayStatus, Record
from trialign_api.kinds import EXTERNAL
from trialign_api.reconcile.classify import CLUSTER_LOST, CLUSTER_UNAVAILABLE, CODES, RETRIABLE, classify
from trialign_api.states import Status
from trialign_api.store.models import Job


class Act(StrEnum):
    """What to do on Ray, besides changing the row."""

    NOTHING = "nothing"
    SUBMIT = "submit"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class JobView:
    """What a decision needs to know of a job."""

    status: Status
    retries_left: int
    ours: bool = True
    """Whether the service can submit it; False for what came by `ray job submit`."""
    missing_since: datetime | None = None
    longest: timedelta | None = None
    """How long one attempt may run, where its owner has said so."""
    changed_at: datetime | None = None
    """By the service's clock, as `now` of an observation; Ray's may differ."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next status (None: stays), what to do on Ray, and why."""

    to: Status | None = None
    act: Act = Act.NOTHING
    event: str = ""
    """Type of the event to record; recorded once while the status stays."""
    message: str = ""
    error_code: str | None = None
    missing: bool = False
    """Ray does not know the job."""
    retry: bool = False
    """It goes back to the queue at the cost of one retry."""


STAY = Decision()
_LONGEST_PAUSE = timedelta(hours=1)
_RAISED = re.compile(r"^([a-zA-Z_][\w.]*\.)?[A-Z]\w*(Error|Exception|Interrupt|Exit): ?\S?")
"""The last line of a traceback."""
TIME_LIMIT = "time_limit"
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a job may be missing before it is given up."""

    grace: timedelta
    """While Ray answers and does not know it."""
    outage: timedelta
    """While Ray does not answer: the job may well run."""
    longest: timedelta = timedelta.max
    """How long one attempt may run."""
    pause: timedelta = timedelta(0)
    """Before the first retry."""

    def before_retry(self, used: int) -> timedelta:
        """Twice as long after each one that was used, at most an hour."""
        return min(self.pause * (1 << min(used, 20)), _LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class Observation:
    """What Ray reported of a job, and when."""

    record: Record | None
    """None where Ray does not know it, or does not answer."""
    reachable: bool
    """Whether Ray answered."""
    log_tail: Sequence[str]
    """Of the current attempt."""
    now: datetime
    since: datetime = _EVER
    """Since when Ray has answered, or has not: time of an outage does not count as grace, nor the other way round."""


def decide(job: JobView, observation: Observation, patience: Patience) -> Decision:
    """For a job that Ray may hold."""
    record = observation.record
    if record is None and job.status is Status.STARTING and job.ours and observation.reachable:
        return _unsent(job, observation, patience)
    if record is None:
        return _missing(job, observation, patience)
    if job.status is Status.CANCELLING:
        return _cancelling(record)
    if record.status is RayStatus.PENDING and observation.now - (job.changed_at or observation.now) >= patience.grace:
        return Decision(event="delayed", message=record.message.strip() or "Ray has not started the job yet.")
    ran = observation.now - (record.started_at or observation.now)
    if record.status is RayStatus.RUNNING and job.ours and ran > min(patience.longest, job.longest or patience.longest):
        told = f"The job has run for {round(ran.total_seconds())} s, which is as long as one may; it is stopped."
        return Decision(Status.CANCELLING, Act.STOP, TIME_LIMIT, told, TIME_LIMIT)
    return _active(job, record, observation.log_tail)


def _unsent(job: JobView, observation: Observation, patience: Patience) -> Decision:
    """Ray has not heard of it, or has lost it before the service saw it run."""
    known_missing = job.missing_since is not None
    if known_missing and _missing_for(job, observation) >= patience.outage:
        return _failed(job, CLUSTER_UNAVAILABLE, f"Ray has accepted no submission for {_seconds(job, observation)} s.")
    return Decision(act=Act.SUBMIT, missing=known_missing)


def _missing(job: JobView, observation: Observation, patience: Patience) -> Decision:
    if job.status is Status.CANCELLING and observation.reachable:
        return Decision(Status.CANCELLED, event="cancelled", message="Ray does not know the job.")
    limit = patience.grace if observation.reachable else patience.outage
    if job.missing_since is None or _missing_for(job, observation) < limit:
        return Decision(missing=True)
    if job.status is Status.CANCELLING:
        return Decision(
            Status.CANCELLED, event="cancelled", message="The cluster did not answer in time.", missing=True
        )
    how = "not known the job" if observation.reachable else "not answered"
    return replace(_failed(job, CLUSTER_LOST, f"Ray has {how} for {_seconds(job, observation)} s."), missing=True)


def _missing_for(job: JobView, observation: Observation) -> timedelta:
    return observation.now - max(job.missing_since or observation.now, observation.since)


def _seconds(job: JobView, observation: Observation) -> int:
    return round(_missing_for(job, observation).total_seconds())


def _cancelling(record: Record) -> Decision:
    if record.status is RayStatus.SUCCEEDED:
        return Decision(Status.SUCCEEDED, event="succeeded", message="The job succeeded before it could be stopped.")
    if record.status.ended:
        return Decision(Status.CANCELLED, event="cancelled", message="The job has stopped.")
    return Decision(act=Act.STOP)


def _active(job: JobView, record: Record, log_tail: Sequence[str]) -> Decision:
    if record.status is RayStatus.RUNNING and job.status is Status.STARTING:
        return Decision(Status.RUNNING, event="running", message="Ray runs the job.")
    if record.status is RayStatus.SUCCEEDED:
        return Decision(Status.SUCCEEDED, event="succeeded", message="The job succeeded.")
    if record.status is RayStatus.STOPPED:
        return Decision(Status.CANCELLED, event="cancelled", message="The job was stopped on Ray, not by this service.")
    if record.status is RayStatus.FAILED:
        return _failed(job, classify(record, log_tail), _reason(record, log_tail))
    return STAY


def _failed(job: JobView, code: str, message: str) -> Decision:
    if code in RETRIABLE and job.retries_left > 0:
        return Decision(Status.QUEUED, event="retrying", message=message, error_code=code, retry=True)
    return Decision(Status.FAILED, event="failed", message=message, error_code=code)


def _reason(record: Record, log_tail: Sequence[str]) -> str:
    """The error that the job printed last, as `trialign_ray.entrypoints.ray_job` writes it or as Python does.

    Where there is none, Ray's message.
    """
    reasons = [line for line in log_tail if line.partition(": ")[0] in CODES]
    raised = [line.strip() for line in log_tail if _RAISED.match(line)]
    return ((reasons or raised or [record.message.strip().partition("\n")[0]])[-1])[:500] or "The job failed."


def view(job: Job) -> JobView:
    """What a decision needs of a row."""
    left = max(0, job.retries - job.retries_used)
    longest = None if job.max_seconds is None else timedelta(seconds=job.max_seconds)
    return JobView(Status(job.status), left, job.kind != EXTERNAL, job.missing_since, longest, job.updated_at)

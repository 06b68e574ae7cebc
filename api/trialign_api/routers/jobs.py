"""Submit, find and steer jobs."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Query, Response
from pydantic import AwareDatetime, BeforeValidator

from trialign_api import ids
from trialign_api.deps import Changing, JobId, Limit, Reader, SeenJob, Svc
from trialign_api.routers.base import router_of
from trialign_api.routers.responses import ANY, CHANGE
from trialign_api.schemas import Deleted, EventOut, JobCreate, JobOut, Page, Validated
from trialign_api.states import Status
from trialign_api.store.jobs import Filter

router = router_of("jobs", "/v1")
_LABEL = r"^[a-z0-9][a-z0-9._-]{0,59}:[A-Za-z0-9 ._/@+-]{1,200}$"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]")


def _written_out(given: object) -> object:
    """A number would be taken for seconds since 1970."""
    if isinstance(given, str) and not _TIME.match(given):
        raise ValueError("must be a time as in RFC 3339, such as 2026-01-31T09:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]


@router.post("/jobs", status_code=201, response_model=JobOut, responses=CHANGE)
async def create_job(body: JobCreate, svc: Svc, change: Changing) -> Response:
    """Submit a job. It is stored before anything else hears of it, then checked, queued and started."""
    return await change.prepare(201, lambda: svc.jobs.create(change.who, body))


@router.post("/jobs:validate", response_model=Validated, responses=CHANGE)
async def validate_job(body: JobCreate, svc: Svc, change: Changing) -> Response:
    """A dry run: the specification as the job would get it, its data checked, and what it will do."""
    found = await svc.jobs.validate(change.who, body)
    return await change.answer(200, found)


async def job_filter(
    status: Annotated[list[Status], Query(max_length=8)] = [],  # noqa: B006 FastAPI copies it
    owner: Annotated[str | None, Query(max_length=80)] = None,
    kind: Annotated[str | None, Query(max_length=40)] = None,
    label: Annotated[list[Annotated[str, Query(pattern=_LABEL)]], Query(max_length=8, description="key:value")] = [],  # noqa: B006
    created_after: Moment | None = None,
    created_before: Moment | None = None,
) -> Filter:
    """Which jobs to list."""
    labels = tuple((key, value) for key, _, value in (text.partition(":") for text in label))
    return Filter(owner, tuple(status), kind, labels, created_after, created_before)


@router.get("/jobs", responses=ANY)
async def list_jobs(
    svc: Svc,
    who: Reader,
    wanted: Annotated[Filter, Depends(job_filter)],
    after: Annotated[str | None, Query(pattern=ids.JOB_ID)] = None,
    limit: Limit = 50,
) -> Page[JobOut]:
    """Jobs, the newest first."""
    return await svc.jobs.list(who, wanted, after, limit)


@router.get("/jobs/{job_id}", responses=ANY)
async def get_job(job: SeenJob) -> JobOut:
    """One job."""
    return JobOut.of(job)


@router.post("/jobs/{job_id}/cancel", status_code=202, response_model=JobOut, responses=CHANGE)
async def cancel_job(job_id: JobId, svc: Svc, change: Changing) -> Response:
    """Stop a job after it has written a checkpoint. Cancelling twice is the same as once."""
    return await change.do(202, lambda session: svc.jobs.cancel(session, change.who, job_id))


@router.post("/jobs/{job_id}/resume", status_code=202, response_model=JobOut, responses=CHANGE)
async def resume_job(job_id: JobId, svc: Svc, change: Changing) -> Response:
    """Queue a failed or cancelled job again, to go on from its last checkpoint."""
    return await change.prepare(202, lambda: svc.jobs.resume(change.who, job_id))


@router.post("/jobs/{job_id}/retry", status_code=201, response_model=JobOut, responses=CHANGE)
async def retry_job(job_id: JobId, svc: Svc, change: Changing) -> Response:
    """A new job with the specification of one that failed or was cancelled, from the start."""
    return await change.prepare(201, lambda: svc.jobs.retry(change.who, job_id))


@router.delete("/jobs/{job_id}", response_model=Deleted, responses=CHANGE)
async def delete_job(
    job_id: JobId,
    svc: Svc,
    change: Changing,
    run: Annotated[bool, Query(description="Delete its run folder too: checkpoints, adapter, report.")] = False,
) -> Response:
    """Delete a job that is over, with its log and metrics. Its events stay, as the audit does."""
    return await change.prepare(200, lambda: svc.jobs.delete(change.who, job_id, with_run=run))


@router.get("/jobs/{job_id}/events", responses=ANY)
async def list_events(
    svc: Svc,
    who: Reader,
    job_id: JobId,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Number of the last event that is known.")] = 0,
    limit: Limit = 200,
) -> Page[EventOut]:
    """What happened to a job, in order."""
    return await svc.jobs.events(who, job_id, after, limit)

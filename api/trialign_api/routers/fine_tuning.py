"""`/v1/fine_tuning/jobs` as OpenAI's clients call it: training jobs of the control plane, in OpenAI's shape."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response

from trialign_api import ids
from trialign_api.deps import Changing, Reader, Svc
from trialign_api.openai_shapes import CursorPage, FineTuningCheckpointOut, FineTuningEventOut, FineTuningJobOut
from trialign_api.routers.base import router_of
from trialign_api.routers.openai_answers import ANY, CHANGE, PageLimit
from trialign_api.services.fine_tuning_spec import FineTuningCreate

router = router_of("openai", "/v1/fine_tuning")
FineTuningJobId = Annotated[str, Path(pattern=ids.FINE_TUNING_JOB_ID)]


@router.post("/jobs", response_model=FineTuningJobOut, responses=CHANGE)
async def create_fine_tuning_job(body: FineTuningCreate, svc: Svc, change: Changing) -> Response:
    """Submit a training job: it is checked, queued and started as every other."""
    return await change.prepare(200, lambda: svc.fine_tuning.create(change.who, body))


@router.get("/jobs", responses=ANY)
async def list_fine_tuning_jobs(
    svc: Svc,
    who: Reader,
    after: Annotated[str | None, Query(pattern=ids.FINE_TUNING_JOB_ID)] = None,
    limit: PageLimit = 20,
) -> CursorPage[FineTuningJobOut]:
    """Training jobs, the newest first, however they were submitted."""
    return await svc.fine_tuning.list(who, after, limit)


@router.get("/jobs/{fine_tuning_job_id}", responses=ANY)
async def get_fine_tuning_job(svc: Svc, who: Reader, fine_tuning_job_id: FineTuningJobId) -> FineTuningJobOut:
    """One training job."""
    return await svc.fine_tuning.get(who, fine_tuning_job_id)


@router.post("/jobs/{fine_tuning_job_id}/cancel", response_model=FineTuningJobOut, responses=CHANGE)
async def cancel_fine_tuning_job(svc: Svc, change: Changing, fine_tuning_job_id: FineTuningJobId) -> Response:
    """Stop a job after it has written a checkpoint. Cancelling twice is the same as once."""
    return await _stop(svc, change, fine_tuning_job_id, pause=False)


@router.post("/jobs/{fine_tuning_job_id}/pause", response_model=FineTuningJobOut, responses=CHANGE)
async def pause_fine_tuning_job(svc: Svc, change: Changing, fine_tuning_job_id: FineTuningJobId) -> Response:
    """Stop a job after it has written a checkpoint, to be resumed from there."""
    return await _stop(svc, change, fine_tuning_job_id, pause=True)


@router.post("/jobs/{fine_tuning_job_id}/resume", response_model=FineTuningJobOut, responses=CHANGE)
async def resume_fine_tuning_job(svc: Svc, change: Changing, fine_tuning_job_id: FineTuningJobId) -> Response:
    """Queue a paused job again, or one that failed, to go on from its last checkpoint."""
    return await change.prepare(200, lambda: svc.fine_tuning.resume(change.who, fine_tuning_job_id))


@router.get("/jobs/{fine_tuning_job_id}/events", responses=ANY)
async def list_fine_tuning_events(
    svc: Svc,
    who: Reader,
    fine_tuning_job_id: FineTuningJobId,
    after: Annotated[str | None, Query(pattern=r"^ftevent-[0-9a-f]{28}-[1-9][0-9]{0,8}$")] = None,
    limit: PageLimit = 20,
) -> CursorPage[FineTuningEventOut]:
    """What happened to a job, the newest first."""
    return await svc.fine_tuning.events(who, fine_tuning_job_id, after, limit)


@router.get("/jobs/{fine_tuning_job_id}/checkpoints", responses=ANY)
async def list_fine_tuning_checkpoints(
    svc: Svc,
    who: Reader,
    fine_tuning_job_id: FineTuningJobId,
    after: Annotated[str | None, Query(pattern=r"^ftckpt-[0-9a-f]{28}-[0-9]{1,9}$")] = None,
    limit: PageLimit = 10,
) -> CursorPage[FineTuningCheckpointOut]:
    """The checkpoints that a resume can start from, the newest first."""
    return await svc.fine_tuning.checkpoints(who, fine_tuning_job_id, after, limit)


async def _stop(svc: Svc, change: Changing, job_id: str, *, pause: bool) -> Response:
    return await change.prepare(200, lambda: svc.fine_tuning.stop(change.who, job_id, pause=pause))

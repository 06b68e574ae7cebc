"""What a job wrote: metrics, groups, logs, checkpoints, the report, files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Path, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from sse_starlette import EventSourceResponse

from trialign_api import threads
from trialign_api.deps import SeenJob, Svc
from trialign_api.problems import ApiError
from trialign_api.routers.base import router_of
from trialign_api.routers.responses import ANY
from trialign_api.schemas import Artifact, Checkpoint, Groups, ListOf, MetricsPage
from trialign_api.services import metrics, runs

router = router_of("history", "/v1/jobs/{job_id}")
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_EVENT = {
    "type": "object",
    "description": "`log`: lines of the log, and as id where to go on; `status`; `end`: the job is over.",
    "properties": {
        "event": {"type": "string", "enum": ["log", "status", "end"]},
        "data": {"type": "string"},
        "id": {"type": "string"},
    },
    "required": ["event", "data"],
}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": _EVENT}}}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
After = Annotated[int, Query(ge=-1, le=2**31 - 1, description="The last step that is known.")]
Points = Annotated[
    int | None,
    Query(ge=2, le=5000, description="At most so many rows, spread over the run: a long run's first chart is cheap."),
]
Tail = Annotated[int | None, Query(ge=1, le=10_000, description="Last lines only.")]
_SANDBOX = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


@router.get("/metrics", responses=ANY)
async def get_metrics(
    job: SeenJob,
    svc: Svc,
    after: After = -1,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most rows; without meaning beside `points`.")] = 1000,
    points: Points = None,
) -> MetricsPage:
    """Training metrics by optimizer step."""
    found = await threads.call(svc.history.spread_metrics, job.id, after, points)
    return metrics.page(found, after, limit if points is None else points)


@router.get("/groups", responses=ANY)
async def get_groups(job: SeenJob, svc: Svc, after: After = -1, points: Points = None) -> Groups:
    """Utility, fairness weight and accuracy of every group over the steps."""
    return await threads.call(lambda: metrics.groups(svc.history.spread_metrics(job.id, after, points), after))


@router.get("/logs", responses={**_TEXT, **ANY}, response_class=PlainTextResponse)
async def get_logs(job: SeenJob, svc: Svc, tail: Tail = None) -> Response:
    """The log, all attempts after one another."""
    if tail is None:
        return StreamingResponse(svc.history.chunks(job.id), media_type="text/plain; charset=utf-8")
    lines = await threads.call(svc.history.tail, job.id, tail)
    return PlainTextResponse("".join(f"{line}\n" for line in lines))


@router.get("/logs/stream", responses={**_EVENTS, **ANY}, response_class=EventSourceResponse)
async def stream_logs(
    job: SeenJob,
    svc: Svc,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=40)] = None,
    tail: Tail = None,
) -> EventSourceResponse:
    """The log as it grows, as server-sent events: `log`, `status` and, when the job is over, `end`.

    With `tail` it begins with the last lines, with Last-Event-ID behind that event.
    """
    start = await svc.watch.start(job.id, last, tail)
    return EventSourceResponse(svc.watch.follow(job.id, start), ping=15)


@router.get("/checkpoints", responses=ANY)
async def list_checkpoints(job: SeenJob) -> ListOf[Checkpoint]:
    """The checkpoints that a resume can start from."""
    return ListOf[Checkpoint](data=await threads.call(runs.checkpoints, job.run, storage=job.run))


@router.get("/report", responses=ANY)
async def get_report(job: SeenJob) -> JSONResponse:
    """report.json of the run; its page is the artifact report.html."""
    return JSONResponse(await threads.call(runs.report, job.run, storage=job.run))


@router.get("/artifacts", responses=ANY)
async def list_artifacts(job: SeenJob) -> ListOf[Artifact]:
    """The files of the run that can be downloaded."""
    return ListOf[Artifact](data=await threads.call(runs.artifacts, job.run, storage=job.run))


@router.get("/adapter", responses={**_FILE, **ANY}, response_class=StreamingResponse)
async def get_adapter(job: SeenJob) -> StreamingResponse:
    """The adapter, those of all groups, or the model where all weights were trained, as one tar archive.

    An upload takes it as it is.
    """
    found = await threads.call(runs.adapter, job.run, storage=job.run)
    if found is None:
        raise ApiError.not_found("adapter")
    headers = {"Content-Length": str(found.size), "Content-Disposition": "attachment", **_SANDBOX}
    return StreamingResponse(found.chunks, media_type="application/octet-stream", headers=headers)


@router.get("/artifacts/{name:path}", responses={**_FILE, **ANY}, response_class=StreamingResponse)
async def get_artifact(
    job: SeenJob, name: Annotated[str, Path(max_length=120, examples=["adapter/adapter_model.safetensors"])]
) -> StreamingResponse:
    """One file: report.html, report.json, metrics.jsonl, spec.json, or a file of the adapter."""
    location = await threads.call(runs.open_artifact, job.run, name, storage=job.run)
    return StreamingResponse(runs.chunks(location), media_type=runs.media_type(name), headers=_SANDBOX)

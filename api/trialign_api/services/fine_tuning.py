"""Training jobs as OpenAI's clients see them: the same rows, quotas and rules as every other job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import ids, threads
from trialign_api.auth import Principal
from trialign_api.openai_shapes import (
    CheckpointMetricsOut,
    CursorPage,
    FileOut,
    FineTuningCheckpointOut,
    FineTuningErrorOut,
    FineTuningEventOut,
    FineTuningJobOut,
    seconds,
)
from trialign_api.problems import ApiError
from trialign_api.schemas import Checkpoint, JobCreate, JobOut
from trialign_api.services import archive, runs
from trialign_api.services.files import Content
from trialign_api.services.fine_tuning_spec import (
    FineTuningCreate,
    fields_of,
    hyperparameters_of,
    method_of,
    of_spec,
    to_spec,
    training_file_of,
)
from trialign_api.services.idempotency import Action
from trialign_api.services.jobs import Jobs
from trialign_api.services.metrics import number
from trialign_api.states import ENDED, Status
from trialign_api.store import jobs as rows
from trialign_api.store.jobs import Filter
from trialign_api.store.models import Event, Job
from trialign_ray.errors import SpecError

KIND = "train"
_STATUS: dict[Status, Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]] = {
    Status.VALIDATING: "validating_files",
    Status.QUEUED: "queued",
    Status.STARTING: "queued",
    Status.RUNNING: "running",
    Status.CANCELLING: "running",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_LEVELS: dict[str, Literal["warn", "error"]] = {
    "failed": "error",
    "retrying": "warn",
    "missing": "warn",
    "delayed": "warn",
    "log_incomplete": "warn",
    "metrics_incomplete": "warn",
}
_RESULTS = {"adapter": "adapter.tar", "metrics": "metrics.jsonl", "report": "report.json"}
"""Ending of a file's id -> its name."""
_PARAM = {"bad_data": "training_file", "bad_row": "training_file", "bad_model": "model"}


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Translates; `jobs` does the work."""

    jobs: Jobs

    async def create(self, who: Principal, body: FineTuningCreate) -> Action:
        """What stores a new job; raises ApiError that points into the request."""
        try:
            store = await self.jobs.create(who, JobCreate(spec=to_spec(body), labels=body.metadata or {}))
        except ApiError as error:
            faults = [of_spec(one) if one.pointer.startswith("/body/spec/") else one for one in error.errors]
            raise ApiError(error.status, error.code, error.detail, faults, error.headers) from None
        except SpecError as error:
            raise ApiError.of(error) from None
        return self._shaped(store)

    async def get(self, who: Principal, job_id: str) -> FineTuningJobOut:
        """One job; raises ApiError 404."""
        return shaped(JobOut.of(await self.row(who, job_id)))

    async def row(self, who: Principal, job_id: str) -> Job:
        """The training job of that id; raises ApiError 404."""
        job = await self.jobs.get(who, ids.renamed(job_id, "job"))
        if job.kind != KIND:
            raise ApiError.not_found("fine-tuning job")
        return job

    async def list(self, who: Principal, after: str | None, limit: int) -> CursorPage[FineTuningJobOut]:
        """A page, the newest first."""
        cursor = None if after is None else ids.renamed(after, "job")
        page = await self.jobs.list(who, Filter(kind=KIND), cursor, limit + 1)
        return CursorPage[FineTuningJobOut].of([shaped(job) for job in page.data], limit)

    async def stop(self, who: Principal, job_id: str, *, pause: bool) -> Action:
        """What pauses or cancels a job; raises ApiError 404."""
        job = await self.row(who, job_id)
        return self._shaped(lambda session: self.jobs.cancel(session, who, job.id, pause=pause))

    async def resume(self, who: Principal, job_id: str) -> Action:
        """What queues a paused job again, or one that failed; raises ApiError."""
        job = await self.row(who, job_id)
        return self._shaped(await self.jobs.resume(who, job.id))

    async def events(
        self, who: Principal, job_id: str, after: str | None, limit: int
    ) -> CursorPage[FineTuningEventOut]:
        """A page, the newest first: those before the event `after`."""
        job = await self.row(who, job_id)
        before = job.events + 1 if after is None else int(after.rpartition("-")[2])
        first = max(before - 2 - limit, 0)
        async with self.jobs.store.reads() as session:
            found = await rows.events_of(session, job.id, after=first, limit=max(before - 1 - first, 0))
        return CursorPage[FineTuningEventOut].of([_event(one) for one in reversed(found)], limit)

    async def checkpoints(
        self, who: Principal, job_id: str, after: str | None, limit: int
    ) -> CursorPage[FineTuningCheckpointOut]:
        """A page, the newest first: those of lower steps than the checkpoint `after`."""
        job = await self.row(who, job_id)
        found = await threads.call(runs.steps, job.run, storage=job.run)
        written = await threads.call(self.jobs.history.metrics, job.id)
        losses = {row["step"]: number(row.get("loss")) for row in written}
        before = None if after is None else int(after.rpartition("-")[2])
        older = [pair for pair in found if before is None or pair[0] < before][: limit + 1]
        shapes = [_checkpoint(job, step, one, losses.get(step)) for step, one in older]
        return CursorPage[FineTuningCheckpointOut].of(shapes, limit)

    async def result(self, who: Principal, file_id: str) -> tuple[FileOut, Content]:
        """What a job's run has to download, described and to be sent; raises ApiError 404."""
        of_job, _, ending = file_id.rpartition("-")
        job, name = await self.row(who, of_job), _RESULTS[ending]
        found = await threads.call(_packed, job.run, ending, storage=job.run)
        if found is None or job.ended_at is None:
            raise ApiError.not_found("file")
        about = FileOut(
            id=file_id,
            bytes=found.size,
            created_at=seconds(job.ended_at),
            expires_at=None,
            filename=name,
            purpose="fine-tune-results",
            status_details=None,
            sha256=None,
        )
        return about, Content(name, found.size, found.chunks)

    def _shaped(self, action: Callable[[AsyncSession], Awaitable[object]]) -> Action:
        async def then(session: AsyncSession) -> FineTuningJobOut:
            done = await action(session)
            assert isinstance(done, JobOut)  # noqa: S101 as every action on a job gives
            return shaped(done)

        return then


def shaped(job: JobOut) -> FineTuningJobOut:
    """A training job in OpenAI's shape."""
    paused = job.paused and job.status is Status.CANCELLED
    spec, error = fields_of(job.spec), job.error
    return FineTuningJobOut(
        id=ids.renamed(job.id, "ftjob"),
        created_at=seconds(job.created_at),
        finished_at=seconds(job.ended_at) if job.status in ENDED and job.ended_at and not paused else None,
        model=spec.get("model", ""),
        fine_tuned_model=_model_name(job) if job.status is Status.SUCCEEDED else None,
        organization_id=job.owner,
        status="paused" if paused else _STATUS[job.status],
        training_file=training_file_of(spec),
        hyperparameters=hyperparameters_of(spec),
        method=method_of(spec),
        seed=spec.get("seed", 0),
        error=error and FineTuningErrorOut(code=error.code, message=error.message, param=_PARAM.get(error.code)),
        result_files=_results(job) if job.status is Status.SUCCEEDED else [],
        metadata=job.labels,
    )


def _model_name(job: JobOut) -> str:
    base = str(job.spec.get("model", "")).rstrip("/").rpartition("/")[2]
    return f"ft:{base}:{job.owner}:{job.name}:{job.id.partition('-')[2]}"


def _results(job: JobOut) -> list[str]:
    endings = ["adapter", "metrics"] + (["report"] if job.spec.get("evaluation") else [])
    return [f"{ids.renamed(job.id, 'file')}-{ending}" for ending in endings]


def _packed(run: str | None, ending: str) -> archive.ByteSource | None:
    return runs.adapter(run) if ending == "adapter" else runs.packed(run, _RESULTS[ending])


def _event(event: Event) -> FineTuningEventOut:
    return FineTuningEventOut(
        id=f"{ids.renamed(event.job_id, 'ftevent')}-{event.seq}",
        created_at=seconds(event.at),
        level=_LEVELS.get(event.type, "info"),
        message=event.message,
        data={"type": event.type, **event.data},
    )


def _checkpoint(job: Job, step: int, one: Checkpoint, loss: float | None) -> FineTuningCheckpointOut:
    name = _model_name(JobOut.of(job))
    return FineTuningCheckpointOut(
        id=f"{ids.renamed(job.id, 'ftckpt')}-{step}",
        created_at=seconds(one.modified_at or job.updated_at),
        fine_tuned_model_checkpoint=f"{name}:ckpt-step-{step}",
        fine_tuning_job_id=ids.renamed(job.id, "ftjob"),
        step_number=step,
        metrics=CheckpointMetricsOut(step=step, train_loss=loss),
    )

"""Submit, find, cancel, resume and retry jobs. Ray hears of them from the reconciler, never from a request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import threads
from trialign_api.auth import Principal
from trialign_api.confined import Confined
from trialign_api.ids import new_job_id
from trialign_api.kinds import EXTERNAL
from trialign_api.problems import ApiError
from trialign_api.schemas import Deleted, EventOut, JobCreate, JobOut, Page, Plan, Validated
from trialign_api.services import runs
from trialign_api.services.exactness import Estimates
from trialign_api.services.history import History
from trialign_api.services.idempotency import Action
from trialign_api.services.plan import checked
from trialign_api.services.specs import Resolved, Specs
from trialign_api.states import ENDED, RERUNNABLE, UNBORN, Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.jobs import Filter, NewEvent, StaleJobError
from trialign_api.store.models import Job, now
from trialign_api.store.records import alone


@dataclass(frozen=True, slots=True)
class Jobs:
    """Submits, finds and steers jobs.

    What takes long is done before a transaction begins: `create`, `resume` and `retry` give the action that follows.
    """

    store: Store
    specs: Specs
    confined: Confined
    """Where files that specifications name are opened."""
    estimates: Estimates
    history: History
    default_retries: int
    owner_jobs: int
    """Most jobs of one owner that are not over."""

    async def create(self, who: Principal, body: JobCreate) -> Action:
        """What stores a new job; raises ApiError for a bad specification, TimeoutError for slow storage."""
        job_id = new_job_id()
        resolved = await self.specs.resolve(body.spec, who, job_id)

        async def store(session: AsyncSession) -> JobOut:
            job = _row(job_id, who.owner, body, resolved, self.default_retries)
            await self._within_quota(session, job.owner)
            await rows.add(session, job, NewEvent("created", f"Created by {who.owner}."))
            return JobOut.of(job)

        return store

    async def validate(self, who: Principal, body: JobCreate) -> Validated:
        """What `create` would make and what the job would do; raises ApiError and TrialignError."""
        resolved = await self.specs.resolve(body.spec, who, new_job_id())
        plan = await self.plan(resolved.effective)
        found = await self.estimates.of(self.specs.parse(resolved.effective)[1], plan)
        plan = plan.model_copy(update={"warnings": [*plan.warnings, *found.warnings], "memory": found.memory})
        return Validated(effective=resolved.effective, plan=plan)

    async def plan(self, effective: dict[str, Any]) -> Plan:
        """Open what the specification names, confined; raises TrialignError, and TimeoutError for slow storage."""
        kind, spec = self.specs.parse(effective)
        return Plan.model_validate(await self.confined.run(checked, check=kind.check, spec=spec))

    async def get(self, who: Principal, job_id: str) -> Job:
        """One job; raises ApiError 404 also where it is somebody else's."""
        async with self.store.reads() as session:
            return self._seen(await rows.get(session, job_id), who)

    async def list(self, who: Principal, wanted: Filter, after: str | None, limit: int) -> Page[JobOut]:
        """A page, the newest first; only an admin sees those of several owners."""
        if who.sees not in (None, wanted.owner):
            nobody = wanted.owner is not None
            wanted, limit = replace(wanted, owner=who.sees), 0 if nobody else limit
        async with self.store.reads() as session:
            found = list(await rows.find(session, wanted, after=after, limit=limit + 1))
        page, more = found[:limit], 0 < limit < len(found)
        cursor = page[-1].id if more else None
        return Page[JobOut](data=[JobOut.of(job) for job in page], has_more=more, next_cursor=cursor)

    async def events(self, who: Principal, job_id: str, after: int, limit: int) -> Page[EventOut]:
        """A page of a job's events in their order."""
        await self.get(who, job_id)
        async with self.store.reads() as session:
            found = list(await rows.events_of(session, job_id, after=after, limit=limit + 1))
        page, more = found[:limit], len(found) > limit
        cursor = str(page[-1].seq) if more else None
        return Page[EventOut](data=[EventOut.of(event) for event in page], has_more=more, next_cursor=cursor)

    async def cancel(self, session: AsyncSession, who: Principal, job_id: str, *, pause: bool = False) -> JobOut:
        """Stop a job after its checkpoint. One that is ending or cancelled stays as it is; raises ApiError 409.

        `pause` says that it will be resumed; to cancel a paused job is to say that it will not.
        """
        job = self._seen(await rows.get(session, job_id, lock=True), who)
        if job.status in (Status.CANCELLING, Status.CANCELLED):
            if job.paused and not pause:
                await rows.note(session, job, paused=False)
            return JobOut.of(job)
        event = NewEvent("cancel_requested", f"{who.owner} asked to {'pause' if pause else 'stop'} the job.")
        if job.status in UNBORN:
            await self._move(session, job, event, Status.CANCELLED, ended_at=now(), paused=pause)
        else:
            await self._move(session, job, event, Status.CANCELLING, paused=pause)
        return JobOut.of(job)

    async def resume(self, who: Principal, job_id: str) -> Action:
        """What queues a failed or cancelled job again, to go on from its last checkpoint; raises ApiError.

        Its paths are resolved again: what a caller may read can have changed.
        """
        seen = await self.get(who, job_id)
        await self._resolve_again(seen, who, seen.id)

        async def queue(session: AsyncSession) -> JobOut:
            job = self._seen(await rows.get(session, job_id, lock=True), who)
            _can_run_again(job, seen, "resumed")
            await self._within_quota(session, job.owner)
            ran = job.submission_id is not None
            fields: dict[str, Any] = {"resume": job.resume or ran, "attempt": job.attempt + ran, "retries_used": 0}
            fields |= {"checks": 0, "due_at": None, "paused": False}
            fields |= {"error_code": None, "error_message": None, "log_tail": None, "ended_at": None}
            event = NewEvent("resume_requested", f"{who.owner} asked to resume the job from its last checkpoint.")
            await self._move(session, job, event, Status.VALIDATING, submission_id=None, missing_since=None, **fields)
            return JobOut.of(job)

        return queue

    async def retry(self, who: Principal, job_id: str) -> Action:
        """What makes a new job with the same specification, from the start; raises ApiError."""
        seen, new_id = await self.get(who, job_id), new_job_id()
        resolved = await self._resolve_again(seen, who, new_id)

        async def store(session: AsyncSession) -> JobOut:
            old = self._seen(await rows.get(session, job_id), who)
            _can_run_again(old, seen, "retried")
            assert resolved is not None  # noqa: S101 the job has not changed since it was found to be over
            same = {name: getattr(old, name) for name in ("labels", "retries", "priority", "max_seconds")}
            body = JobCreate(spec=old.spec, **same)
            job = _row(new_id, old.owner, body, resolved, self.default_retries)
            job.retry_of = old.id
            await self._within_quota(session, job.owner)
            event = NewEvent("created", f"Retry of {old.id} by {who.owner}.", {"retry_of": old.id})
            await rows.add(session, job, event)
            return JobOut.of(job)

        return store

    async def delete(self, who: Principal, job_id: str, *, with_run: bool) -> Action:
        """What deletes a job that is over, whose files are gone by then: a deletion that breaks off is repeated.

        Raises ApiError, and OSError and TimeoutError where the run's storage does not let it go.
        """
        seen = await self.get(who, job_id)
        if seen.status not in ENDED:
            raise _conflict(seen, "deleted")
        if with_run and seen.kind != EXTERNAL and seen.run is not None:
            # its own folder, as `Specs` gives each job one; of a run that was submitted otherwise that is not known
            await threads.call(runs.discard, seen.run.rpartition("/")[0], job_id, storage=seen.run)
        await threads.call(self.history.discard, job_id)

        async def erase(session: AsyncSession) -> Deleted:
            job = self._seen(await rows.get(session, job_id, lock=True), who)
            if job.status not in ENDED:
                raise _changed()
            await rows.erase(session, job, NewEvent("deleted", f"Deleted by {who.owner}."))
            return Deleted(id=job_id)

        return erase

    async def _within_quota(self, session: AsyncSession, owner: str) -> None:
        await alone(session, owner)
        if await rows.count(session, owner, set(Status) - ENDED) >= self.owner_jobs:
            detail = f"{owner} has {self.owner_jobs} jobs that are not over. Cancel some, or wait."
            raise ApiError(409, "quota_exceeded", detail)

    async def _resolve_again(self, job: Job, who: Principal, job_id: str) -> Resolved | None:
        """The specification of a job that is over as the job `job_id` gets it; None where the job cannot run again."""
        if job.status not in RERUNNABLE or job.kind == EXTERNAL:
            return None
        return await self.specs.resolve(job.spec, replace(who, owner=job.owner), job_id)

    async def _move(self, session: AsyncSession, job: Job, event: NewEvent, to: Status, **fields: Any) -> None:
        try:
            await rows.change(session, job, event, to, **fields)
        except rows.IllegalMoveError:
            raise _conflict(job, to.value) from None
        except StaleJobError:
            raise _changed() from None

    def _seen(self, job: Job | None, who: Principal) -> Job:
        if job is None or job.deleted_at is not None or who.sees not in (None, job.owner):
            raise ApiError.not_found("job")
        return job


def _row(job_id: str, owner: str, body: JobCreate, resolved: Resolved, retries: int) -> Job:
    moment = now()
    return Job(
        id=job_id,
        kind=resolved.effective["kind"],
        name=resolved.effective["name"],
        owner=owner,
        status=Status.VALIDATING.value,
        spec=body.spec,
        effective=resolved.effective,
        labels=dict(body.labels),
        run=resolved.run,
        attempt=1,
        resume=False,
        retries=retries if body.retries is None else body.retries,
        retries_used=0,
        priority=body.priority,
        max_seconds=body.max_seconds,
        created_at=moment,
        updated_at=moment,
        events=0,
        version=1,
    )


def _can_run_again(job: Job, seen: Job, how: str) -> None:
    """Raises ApiError 409 unless `job` is over and still as it was `seen` when its specification was resolved."""
    if job.status not in RERUNNABLE:
        raise _conflict(job, how)
    if job.kind == EXTERNAL:
        detail = "The job was submitted by `ray job submit`, so the service has no specification to run again."
        raise ApiError(409, "external_job", detail)
    if job.version != seen.version:
        raise _changed()


def _changed() -> ApiError:
    return ApiError(409, "conflict", "The job changed at the same moment. Try again.")


def _conflict(job: Job, what: str) -> ApiError:
    return ApiError(409, "wrong_status", f"A job that is {job.status} cannot be {what}.")

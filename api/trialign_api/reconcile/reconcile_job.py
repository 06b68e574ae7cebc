"""One round for one job: copy what it wrote, observe Ray, decide, and act."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trialign_api import threads
from trialign_api.backend import JobsBackend, Record
from trialign_api.reconcile.copy import Copied, Copier
from trialign_api.reconcile.decide import Act, Decision, Observation, Patience, decide, view
from trialign_api.reconcile.start import Starter
from trialign_api.services.history import History
from trialign_api.states import ENDED, Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.jobs import NewEvent, StaleJobError
from trialign_api.store.models import Job, now
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("trialign_api.reconcile")
_TAIL = 40
_LACK = {
    "log": ("log_incomplete", "Ray did not return the end of the log."),
    "metrics": ("metrics_incomplete", "The run's storage did not return the last metrics."),
}


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether Ray answers, and since when it does or does not."""

    reachable: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class JobReconciler:
    """Brings jobs that Ray may hold in step with it."""

    store: Store
    backend: JobsBackend
    history: History
    copier: Copier
    starter: Starter
    run_of: Callable[[Job], Awaitable[str | None]]
    """The run folder of an imported job, once that is known."""
    patience: Patience

    async def reconcile_job(self, job: Job, record: Record | None, ray: Reachability) -> bool:
        """False where the service's own disk or database failed. A fault of one job never stops the others."""
        try:
            return await self._reconcile(job, record, ray)
        except StaleJobError:
            _LOG.info("%s changed meanwhile", job.id)
        except ClusterError as error:
            _LOG.warning("%s: %s", job.id, error)
        except Exception:
            _LOG.exception("%s could not be reconciled; it is tried again in the next round", job.id)
            return False
        return True

    async def _reconcile(self, job: Job, record: Record | None, ray: Reachability) -> bool:
        copied = await self.copier.copy(job, record)
        await self._note(job, copied)
        tail = await threads.call(self.history.tail_of, job.id, job.attempt, _TAIL)
        observation = Observation(record, ray.reachable, tail, now(), ray.since)
        decision = decide(view(job), observation, self.patience)
        if not (_over(decision) and self._waits(job, record, copied)):
            await self._apply(job, decision, observation, copied)
        return not copied.full

    def _waits(self, job: Job, record: Record | None, copied: Copied) -> bool:
        """Whether the end has to wait: nothing is copied afterwards, and the log's end decides on a retry.

        Who cancels a job is not kept waiting for room on a disk.
        """
        if copied.full:
            return job.status != Status.CANCELLING
        ended = record.ended_at if record is not None and record.status.ended else None
        return bool(copied.lacks and ended is not None and now() - ended < self.patience.grace)

    async def _note(self, job: Job, copied: Copied) -> None:
        found: dict[str, Any] = {} if copied.progress is None else {"progress": copied.progress}
        if (run := await self.run_of(job)) is not None:
            found["run"] = run
        if found:
            async with self.store.writes() as session:
                await rows.note(session, job, **found)

    async def _apply(self, job: Job, decision: Decision, observation: Observation, copied: Copied) -> None:
        if decision.to is not None:
            await self._move(job, decision, decision.to, observation, copied)
        elif decision.missing != (job.missing_since is not None):
            await self._mark_missing(job, decision.missing, observation.reachable)
        elif decision.event:
            await self._tell_once(job, NewEvent(decision.event, decision.message))
        if decision.act is Act.SUBMIT:
            await self.starter.submit(job, again=True)
        elif decision.act is Act.STOP and job.submission_id is not None:
            await self.backend.stop(job.submission_id)

    async def _move(self, job: Job, decision: Decision, to: Status, observation: Observation, copied: Copied) -> None:
        attempt, fields = job.submission_id, _fields(job, decision, observation)
        if decision.retry:
            fields["due_at"] = observation.now + self.patience.before_retry(job.retries_used)
        data = {"code": decision.error_code} if decision.error_code else {}
        async with self.store.writes() as session:
            for lack in copied.lacks if _over(decision) and observation.record is not None else ():
                await rows.change(session, job, NewEvent(*_LACK[lack]))
            await rows.change(session, job, NewEvent(decision.event, decision.message, data), to, **fields)
        if _over(decision):
            self.copier.forget(attempt)

    async def _tell_once(self, job: Job, event: NewEvent) -> None:
        async with self.store.reads() as session:
            [last] = await rows.events_of(session, job.id, after=job.events - 1, limit=1)
        if last.type != event.type:
            async with self.store.writes() as session:
                await rows.change(session, job, event)

    async def _mark_missing(self, job: Job, missing: bool, reachable: bool) -> None:
        lost = "Ray does not know the job." if reachable else "Ray does not answer."
        event = NewEvent("missing", lost) if missing else NewEvent("found", "Ray has the job again.")
        async with self.store.writes() as session:
            await rows.change(session, job, event, missing_since=now() if missing else None)


def _over(decision: Decision) -> bool:
    """Whether this attempt has ended."""
    return decision.retry or decision.to in ENDED


def _fields(job: Job, decision: Decision, observation: Observation) -> dict[str, Any]:
    fields: dict[str, Any] = {"missing_since": None}
    record = observation.record
    if record is not None and job.started_at is None:
        fields["started_at"] = record.started_at
    if decision.retry:
        again = {"attempt": job.attempt + 1, "retries_used": job.retries_used + 1}
        return {**fields, **again, "resume": True, "submission_id": None}
    if decision.to in ENDED:
        fields["ended_at"] = (record.ended_at if record else None) or now()
    if decision.to is Status.FAILED or (decision.to is Status.CANCELLING and decision.error_code):
        fields |= {"error_code": decision.error_code, "error_message": decision.message}
    if decision.to is Status.FAILED:
        fields["log_tail"] = list(observation.log_tail)
    if decision.to is Status.SUCCEEDED:  # it may have been told to stop, for its time or to be resumed, and was quicker
        fields |= {"paused": False, "error_code": None, "error_message": None}
    return fields

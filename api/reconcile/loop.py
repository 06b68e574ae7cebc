"""The loop that keeps the store and Ray in step. All state is in the database: it may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from api.backend import JobsBackend, Record
from api.kinds import JobKind
from api.reconcile.adopt import Adopter
from api.reconcile.copy import Copier
from api.reconcile.decide import Act, Decision, Sight, decide, view
from api.reconcile.lease import LeaseKeeper
from api.reconcile.start import Starter
from api.services.history import History
from api.services.jobs import Jobs
from api.settings import Settings
from api.states import ENDED, ON_RAY, Status
from api.store import jobs as rows
from api.store import records as other_rows
from api.store.engine import Store
from api.store.jobs import Happening, StaleJobError
from api.store.models import Job, now
from api.telemetry import Telemetry
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("api.reconcile")
_TAIL = 40
_ANSWERS_KEPT = timedelta(days=1)
_FORGET_SECONDS = 3600.0


class Reconciler:
    """Rounds of: look at Ray, copy logs and metrics, move jobs on, start queued ones, adopt strangers."""

    def __init__(
        self,
        store: Store,
        backend: JobsBackend,
        jobs: Jobs,
        history: History,
        kinds: Mapping[str, JobKind],
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._store, self._backend, self._history = store, backend, history
        self._settings, self._telemetry = settings, telemetry
        self._grace = timedelta(seconds=settings.grace_seconds)
        self._lease = LeaseKeeper(store, settings.lease_seconds)
        self._copier = Copier(backend, history)
        self._starter = Starter(store, backend, jobs, kinds, settings)
        self._adopter = Adopter(store, backend, settings.adopt)
        self._work = asyncio.Event()
        self._forgot = -_FORGET_SECONDS

    def wake(self) -> None:
        """There is work: do not wait for the next round."""
        self._work.set()

    async def run(self) -> None:
        """Until cancelled."""
        keeper = asyncio.create_task(self._lease.run())
        try:
            while True:
                await self._round()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._work.wait(), self._settings.reconcile_seconds)
                self._work.clear()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def stop(self, task: asyncio.Task[None]) -> None:
        """End `run` and give the lease back."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._starter.drain()
        await self._lease.drop()

    async def _round(self) -> None:
        if not self._lease.held:
            return
        try:
            with self._telemetry.reconcile_seconds.time():
                whole = await self.tick()
            self._telemetry.reconciled.labels("ok" if whole else "failed").inc()
        except Exception:  # the loop outlives every fault; the next round starts from the database
            _LOG.exception("a round failed")
            self._telemetry.reconciled.labels("failed").inc()

    async def tick(self) -> bool:
        """One round; False where a job had to be left to the next one."""
        await self._forget_answers()
        async with self._store.reads() as session:
            active = list(await rows.in_status(session, ON_RAY))
        records = await self._look()
        known = {record.submission_id: record for record in records or []}
        tended = [await self._tend(job, known.get(job.submission_id or ""), records is not None) for job in active]
        await self._begin(records)
        if records is not None:
            await self._adopter.look(records)
        return all(tended)

    async def _forget_answers(self) -> None:
        """Idempotency keys are for repeats, not for ever."""
        if time.monotonic() - self._forgot < _FORGET_SECONDS:
            return
        async with self._store.writes() as session:
            await other_rows.forget_answers(session, now() - _ANSWERS_KEPT)
        self._forgot = time.monotonic()

    async def settle(self) -> None:
        """Wait until the checks of new jobs are done."""
        await self._starter.settle()

    async def _look(self) -> list[Record] | None:
        try:
            records = await self._backend.list()
        except ClusterError as error:
            _LOG.warning("%s", error)
            records = None
        self._telemetry.cluster_up.set(records is not None)
        return records

    async def _begin(self, records: list[Record] | None) -> None:
        async with self._store.reads() as session:
            self._starter.check(await rows.in_status(session, {Status.VALIDATING}))
            queued = await rows.in_status(session, {Status.QUEUED})
            holding = len([job for job in await rows.in_status(session, ON_RAY) if job.spec])
        if records is not None:
            await self._starter.start(queued, self._settings.active_jobs - holding, records)

    async def _tend(self, job: Job, record: Record | None, reachable: bool) -> bool:
        """Move one job on. Where its log cannot be kept it stays as it is: once over, it would not be copied again."""
        try:
            if record is not None:
                await self._copier.log(job)
            progress = await self._copier.metrics(job)
            tail = await asyncio.to_thread(self._history.tail, job.id, _TAIL)
            decision = decide(view(job), Sight(record, reachable, tail, now()), self._grace)
            await self._apply(job, decision, record, tail, progress)
        except StaleJobError:
            _LOG.info("%s changed meanwhile", job.id)
        except ClusterError as error:
            _LOG.warning("%s: %s", job.id, error)
        except OSError:
            _LOG.exception("%s waits", job.id)
            return False
        return True

    async def _apply(
        self, job: Job, decision: Decision, record: Record | None, tail: list[str], progress: dict[str, Any] | None
    ) -> None:
        if progress is not None:
            async with self._store.writes() as session:
                await rows.note(session, job, progress=progress)
        if decision.to is not None:
            await self._move(job, decision, record, tail)
        elif decision.missing != (job.missing_since is not None):
            await self._mark_missing(job, decision.missing)
        if decision.act is Act.SUBMIT:
            await self._starter.submit(job)
        elif decision.act is Act.STOP and job.submission_id is not None:
            await self._backend.stop(job.submission_id)

    async def _move(self, job: Job, decision: Decision, record: Record | None, tail: list[str]) -> None:
        if decision.to is None:
            return
        fields = _fields(job, decision, record, tail)
        data = {"code": decision.error_code} if decision.error_code else {}
        async with self._store.writes() as session:
            await rows.change(session, job, Happening(decision.event, decision.message, data), decision.to, **fields)

    async def _mark_missing(self, job: Job, missing: bool) -> None:
        text = "Ray does not know it, or does not answer." if missing else "Ray knows it again."
        said = Happening("missing" if missing else "found", text)
        async with self._store.writes() as session:
            await rows.change(session, job, said, missing_since=now() if missing else None)


def _fields(job: Job, decision: Decision, record: Record | None, tail: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"missing_since": None}
    if record is not None and job.started_at is None:
        fields["started_at"] = record.started_at
    if decision.retry:
        again = {"attempt": job.attempt + 1, "retries_used": job.retries_used + 1}
        return {**fields, **again, "resume": True, "submission_id": None}
    if decision.to in ENDED:
        fields["ended_at"] = (record.ended_at if record else None) or now()
    if decision.to is Status.FAILED:
        fields |= {"error_code": decision.error_code, "error_message": decision.message, "log_tail": tail}
    return fields

"""The loop that keeps the store and Ray in step. All state is in the database: it may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from api import threads
from api.backend import JobsBackend, Record
from api.kinds import EXTERNAL, JobKind
from api.reconcile.adopt import Adopter
from api.reconcile.copy import Copier
from api.reconcile.decide import Act, Decision, Patience, Sight, decide, view
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
_TOGETHER_SECONDS = 0.1
_AT_ONCE = 8
"""Jobs that are tended together: one whose log comes slowly does not hold up the others."""
_HUNG_SECONDS = 300.0
"""A round that takes longer has hung, and another process takes over."""


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
        self._patience = Patience(timedelta(seconds=settings.grace_seconds), timedelta(seconds=settings.outage_seconds))
        self._lease = LeaseKeeper(store, settings.lease_seconds, alive=self._alive)
        self._copier = Copier(backend, history)
        self._starter = Starter(store, backend, jobs, kinds, settings)
        self._adopter = Adopter(store, backend, history, jobs.specs.roots, settings.adopt)
        self._work = asyncio.Event()
        self._forgot = -_FORGET_SECONDS
        self._beat = time.monotonic()

    def wake(self) -> None:
        """There is work: do not wait for the next round."""
        self._work.set()

    async def run(self) -> None:
        """Until cancelled."""
        keeper = asyncio.create_task(self._lease.run())
        try:
            while True:
                await self._round()
                await self._wait()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _wait(self) -> None:
        """For work or the next round; requests that come together share a round."""
        pause = self._settings.reconcile_seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._work.wait(), pause)
            await asyncio.sleep(min(_TOGETHER_SECONDS, pause))
        self._work.clear()

    def _alive(self) -> bool:
        return time.monotonic() - self._beat < _HUNG_SECONDS

    async def stop(self, task: asyncio.Task[None]) -> None:
        """End `run` and give the lease back."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._starter.drain()
        await self._lease.drop()

    async def _round(self) -> None:
        self._beat = time.monotonic()
        if not self._lease.held:
            self._telemetry.cluster_up.set(0)
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
        gate = asyncio.Semaphore(_AT_ONCE)

        async def tend(job: Job) -> bool:
            async with gate:
                return await self._tend(job, known.get(job.submission_id or ""), records is not None)

        tended = await asyncio.gather(*map(tend, active))
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
        async with self._store.reads() as session:  # a session would give rows that it has seen as they were then
            room = max(0, self._settings.active_jobs - await rows.count(session, ON_RAY, besides=EXTERNAL))
            running = sum(not record.status.ended for record in records or [])
            queued = await rows.in_status(session, {Status.QUEUED}, room + running)
        if records is not None:
            await self._starter.start(queued, room, records)

    async def _tend(self, job: Job, record: Record | None, reachable: bool) -> bool:
        """Move one job on; False where it has to wait. Whatever is wrong with one, the others go on."""
        try:
            copied = await self._copier.copy(job, record)
            if record is not None and not copied.log and self._still_ends(record):
                return False
            tail = await threads.read(self._history.tail, job.id, _TAIL)
            if copied.progress is not None:
                await self._note(job, progress=copied.progress)
            if (run := await self._adopter.run_of(job)) is not None:
                await self._note(job, run=run)
            sight = Sight(record, reachable, tail, now(), log_whole=copied.log)
            await self._apply(job, decide(view(job), sight, self._patience), sight)
        except StaleJobError:
            _LOG.info("%s changed meanwhile", job.id)
        except ClusterError as error:
            _LOG.warning("%s: %s", job.id, error)
        except Exception:  # such as a full disk: once over, a job's log would not be copied again
            _LOG.exception("%s waits", job.id)
            return False
        return True

    def _still_ends(self, record: Record) -> bool:
        """Whether it has just ended, so that its last lines may yet be had."""
        ended = record.ended_at if record.status.ended else None
        return ended is not None and now() - ended < self._patience.grace

    async def _note(self, job: Job, **found: Any) -> None:
        async with self._store.writes() as session:
            await rows.note(session, job, **found)

    async def _apply(self, job: Job, decision: Decision, sight: Sight) -> None:
        if decision.to is not None:
            await self._move(job, decision, sight)
        elif decision.missing != (job.missing_since is not None):
            await self._mark_missing(job, decision.missing, sight.reachable)
        if decision.act is Act.SUBMIT:
            await self._starter.submit(job, again=True)
        elif decision.act is Act.STOP and job.submission_id is not None:
            await self._backend.stop(job.submission_id)

    async def _move(self, job: Job, decision: Decision, sight: Sight) -> None:
        if decision.to is None:
            return
        over, attempt = decision.retry or decision.to in ENDED, job.submission_id
        fields = _fields(job, decision, sight)
        data = {"code": decision.error_code} if decision.error_code else {}
        async with self._store.writes() as session:
            if over and sight.record is not None and not sight.log_whole:
                await rows.change(session, job, Happening("log_incomplete", "Ray did not give the end of its log."))
            await rows.change(session, job, Happening(decision.event, decision.message, data), decision.to, **fields)
        if over:
            self._copier.forget(attempt)

    async def _mark_missing(self, job: Job, missing: bool, reachable: bool) -> None:
        lost = "Ray does not know it." if reachable else "Ray does not answer."
        said = Happening("missing", lost) if missing else Happening("found", "Ray has it.")
        async with self._store.writes() as session:
            await rows.change(session, job, said, missing_since=now() if missing else None)


def _fields(job: Job, decision: Decision, sight: Sight) -> dict[str, Any]:
    fields: dict[str, Any] = {"missing_since": None}
    record = sight.record
    if record is not None and job.started_at is None:
        fields["started_at"] = record.started_at
    if decision.retry:
        again = {"attempt": job.attempt + 1, "retries_used": job.retries_used + 1}
        return {**fields, **again, "resume": True, "submission_id": None}
    if decision.to in ENDED:
        fields["ended_at"] = (record.ended_at if record else None) or now()
    if decision.to is Status.FAILED:
        told = {"error_code": decision.error_code, "error_message": decision.message}
        fields |= {**told, "log_tail": list(sight.log_tail)}
    return fields

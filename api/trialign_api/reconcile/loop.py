"""The loop that keeps the store and Ray in step. All state is in the database: it may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from trialign_api.backend import JobsBackend, Record
from trialign_api.kinds import EXTERNAL, ServedKind
from trialign_api.reconcile.admit import Places, admit
from trialign_api.reconcile.copy import Copier
from trialign_api.reconcile.decide import Patience
from trialign_api.reconcile.import_external import ExternalImporter
from trialign_api.reconcile.lease import Lease
from trialign_api.reconcile.reconcile_job import JobReconciler, Reachability
from trialign_api.reconcile.retention import Retention
from trialign_api.reconcile.start import JOB_KEY, Starter
from trialign_api.services.history import History
from trialign_api.services.jobs import Jobs
from trialign_api.settings import Settings
from trialign_api.states import ON_RAY, Status
from trialign_api.store import jobs as rows
from trialign_api.store import records as other_rows
from trialign_api.store.engine import Store
from trialign_api.store.models import Job, now
from trialign_api.telemetry import Telemetry
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("trialign_api.reconcile")
_ANSWERS_KEPT = timedelta(days=1)
_FORGET_SECONDS = 3600.0
_TOGETHER_SECONDS = 0.1
_AT_ONCE = 32
"""Jobs that are reconciled at the same time."""
_ROUND_SECONDS = 5.0
"""How long a round waits for them; a job that takes longer is skipped by the next rounds until it is done."""
_HUNG_SECONDS = 300.0
"""A reconciler without progress for so long has hung: it stops renewing its lease and another process takes over."""


class Reconciler:
    """Rounds of: list Ray's submissions, reconcile each job, start queued jobs, import external ones.

    Ray forgets everything with its head, and any process may die between two lines. So each round starts from the
    database, changes a row before Ray hears of it, and uses submission ids that follow from the row: repeating a round
    does nothing twice.
    """

    def __init__(
        self,
        store: Store,
        backend: JobsBackend,
        jobs: Jobs,
        history: History,
        kinds: Mapping[str, ServedKind],
        settings: Settings,
        telemetry: Telemetry,
        retention: Retention,
    ) -> None:
        self._store, self._backend = store, backend
        self._settings, self._telemetry = settings, telemetry
        self._lease = Lease(store, settings.lease_seconds, alive=self._alive, taken=self.wake)
        self._starter = Starter(store, backend, jobs, kinds, settings, self.wake)
        self._importer = ExternalImporter(store, backend, history, jobs.specs.roots, settings.import_external)
        patience = Patience(
            timedelta(seconds=settings.grace_seconds),
            timedelta(seconds=settings.outage_seconds),
            timedelta(seconds=settings.run_seconds),
            timedelta(seconds=settings.retry_seconds),
        )
        copier, run_of = Copier(backend, history), self._importer.run_of
        self._job_reconciler = JobReconciler(store, backend, history, copier, self._starter, run_of, patience)
        self._retention = retention
        self._retiring: asyncio.Task[None] | None = None
        self._reconciling: dict[str, asyncio.Task[bool]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._ray = Reachability(True, now())
        self._work = asyncio.Event()
        self._forgot = -_FORGET_SECONDS
        self._beat = time.monotonic()

    def wake(self) -> None:
        """Start the next round at once."""
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
        for task_of_job in self._reconciling.values():
            task_of_job.cancel()
        await asyncio.gather(task, *self._reconciling.values(), return_exceptions=True)
        if self._retiring is not None:
            self._retiring.cancel()
            await asyncio.gather(self._retiring, return_exceptions=True)
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
        """One round; False where a job could not be brought in step."""
        await self._forget_old()
        async with self._store.reads() as session:
            active = list(await rows.in_status(session, ON_RAY))
        records = await self._look()
        whole = await self._reconcile_all(active, {record.submission_id: record for record in records or []})
        await self._begin(records)
        if records is not None:
            await self._importer.look(records)
        return whole

    async def _reconcile_all(self, active: Sequence[Job], known: Mapping[str, Record]) -> bool:
        """Each job in a task of its own: one whose storage hangs delays neither the others nor the next round."""
        for job in active:
            if job.id not in self._reconciling:
                self._reconciling[job.id] = asyncio.create_task(
                    self._reconcile(job, known.get(job.submission_id or ""))
                )
        if not self._reconciling:
            return True
        done, _ = await asyncio.wait(self._reconciling.values(), timeout=_ROUND_SECONDS)
        self._reconciling = {job_id: task for job_id, task in self._reconciling.items() if task not in done}
        return all(task.result() for task in done)

    async def _reconcile(self, job: Job, record: Record | None) -> bool:
        async with self._gate:
            done = await self._job_reconciler.reconcile_job(job, record, self._ray)
        self._beat = time.monotonic()
        return done

    async def _forget_old(self) -> None:
        """Delete answers that no client repeats any more, and beside the round what has been kept long enough."""
        if time.monotonic() - self._forgot < _FORGET_SECONDS:
            return
        if self._retiring is None or self._retiring.done():
            self._retiring = asyncio.create_task(self._retention.enforce())
        async with self._store.writes() as session:
            await other_rows.forget_answers(session, now() - _ANSWERS_KEPT)
        self._forgot = time.monotonic()

    async def settle(self) -> None:
        """Wait until the checks of new jobs are done, and what is deleted is gone."""
        await self._starter.settle()
        if self._retiring is not None:
            await asyncio.gather(self._retiring, return_exceptions=True)

    async def _look(self) -> list[Record] | None:
        try:
            records = await self._backend.list()
        except ClusterError as error:
            if self._ray.reachable:
                _LOG.warning("Ray does not answer; jobs wait: %s", error)
            records = None
        if self._ray.reachable != (records is not None):
            self._ray = Reachability(records is not None, now())
            if records is not None:
                _LOG.warning("Ray answers again")
        self._telemetry.cluster_up.set(self._ray.reachable)
        return records

    async def _begin(self, records: list[Record] | None) -> None:
        """Submit what is queued, then check what is new: a check that ends starts the next round."""
        if records is not None:
            await self._start(records)
        async with self._store.reads() as session:
            self._starter.check(await rows.in_status(session, {Status.VALIDATING}))

    async def _start(self, records: list[Record]) -> None:
        moment, settings = now(), self._settings
        busy = {record.metadata.get(JOB_KEY) for record in records if not record.status.ended}
        async with self._store.reads() as session:
            active = [job for job in await rows.in_status(session, ON_RAY) if job.kind != EXTERNAL]
            found = await rows.queued(session, settings.owner_active_jobs + len(busy), moment)
        queued = [job for job in found if job.id not in busy]
        if not queued or len(active) >= settings.active_jobs:
            return
        try:
            resources = (await self._backend.cluster()).resources
        except ClusterError as error:
            _LOG.info("jobs wait, for what the cluster has is not known: %s", error)
            return
        places = Places(settings.active_jobs, settings.owner_active_jobs, resources, settings.owner_shares)
        await self._starter.start(admit(queued, active, places, moment))

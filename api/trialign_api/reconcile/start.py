"""Check new jobs, and hand queued ones to Ray."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trialign_api.backend import JobsBackend, Submission, SubmissionRefusedError
from trialign_api.ids import submission_id
from trialign_api.kinds import ServedKind
from trialign_api.problems import ApiError
from trialign_api.services.jobs import Jobs
from trialign_api.settings import Settings
from trialign_api.states import Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.jobs import NewEvent, StaleJobError
from trialign_api.store.models import Job, now
from trialign_ray.errors import ClusterError, DataError, TrialignError

_LOG = logging.getLogger("trialign_api.reconcile")
_MOST_CHECKS = 50
"""A check runs in a process of its own, so that the service dies beside it for other reasons nearly always: that many
deaths are the file's doing, and fewer, a service that is restarted often for instance, fail no job."""
JOB_KEY, OWNER_KEY = "trialign_job_id", "trialign_owner"
"""Keys of a submission's metadata, so that the job can be found from Ray's dashboard."""


@dataclass(slots=True)
class Starter:
    """From `validating` to `starting`."""

    store: Store
    backend: JobsBackend
    jobs: Jobs
    kinds: Mapping[str, ServedKind]
    settings: Settings
    checked: Callable[[], None]
    """Called when a check has ended and its outcome is stored; one that could not be stored waits for a later round."""
    _checking: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def check(self, waiting: Sequence[Job]) -> None:
        """Start the checks of new jobs that are not being checked yet."""
        self._checking = {job_id: task for job_id, task in self._checking.items() if not task.done()}
        for job in waiting:
            if job.id not in self._checking:
                task = self._checking[job.id] = asyncio.create_task(self._check(job))
                task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            self.checked()

    async def drain(self) -> None:
        """Cancel running checks; the next process repeats them."""
        for task in list(self._checking.values()):
            task.cancel()
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    async def settle(self) -> None:
        """Wait for the checks that run."""
        await asyncio.gather(*self._checking.values(), return_exceptions=True)

    async def start(self, admitted: Sequence[Job]) -> None:
        """Submit queued jobs. The row says `starting` before Ray hears of the job."""
        for job in admitted:
            try:
                await self._promise(job)
                await self.submit(job)
            except StaleJobError:
                continue

    async def submit(self, job: Job, *, again: bool = False) -> None:
        """Submit to Ray. The submission id is fixed, so a failed call is simply repeated in the next round.

        A refusal ends the job. `again`: a cluster that lost the job may have run it for a while, so it resumes.
        """
        try:
            await self.backend.submit(self._submission(job, resume=again or job.resume))
        except SubmissionRefusedError as refused:
            await self._refuse(job, refused.code, str(refused))
        except ClusterError as error:
            _LOG.warning("submission of %s: %s", job.id, error)
            await self._delay(job, str(error))

    async def _delay(self, job: Job, reason: str) -> None:
        """Record the delay once; the job waits until Ray answers otherwise."""
        if job.missing_since is None:
            async with self.store.writes() as session:
                await rows.change(session, job, NewEvent("delayed", reason), missing_since=now())

    async def _promise(self, job: Job) -> None:
        name = submission_id(job.id, job.attempt)
        event = NewEvent("starting", f"Attempt {job.attempt} is submitted to Ray as {name}.", {"submission_id": name})
        async with self.store.writes() as session:
            await rows.change(session, job, event, Status.STARTING, submission_id=name, missing_since=None)

    def _submission(self, job: Job, *, resume: bool) -> Submission:
        if job.submission_id is None:
            raise AssertionError(f"{job.id} has no submission id")
        env = {
            "TRIALIGN_SPEC": json.dumps(job.effective),
            "TRIALIGN_JOB_ID": job.id,
            "RAY_JOB_STOP_WAIT_TIME_S": str(self.settings.stop_seconds),
        }
        if resume:
            env["TRIALIGN_RESUME"] = "1"
        metadata = {JOB_KEY: job.id, OWNER_KEY: job.owner, "job_name": job.name, "trialign_kind": job.kind}
        kind = self.kinds[job.kind]
        return Submission(job.submission_id, kind.module, env, metadata, kind.cpus)

    async def _check(self, job: Job) -> None:
        if not await self._counted(job):
            return
        try:
            plan = await self.jobs.plan(job.effective)
        except asyncio.CancelledError:  # the service ends; that says nothing about the job
            await asyncio.shield(self._note_checks(job, job.checks - 1))
            raise
        except TimeoutError:
            await self._refuse(
                job, "unavailable", "The inputs could not be read in time. Resume the job when their storage answers."
            )
        except (TrialignError, ApiError) as error:
            await self._refuse(job, error.code, str(error))
        except Exception:
            _LOG.exception("check of %s", job.id)
            await self._refuse(job, "error", "The check itself failed; the cause is in the service's log.")
        else:
            event = NewEvent("queued", "Inputs validated.", {"plan": plan.model_dump(mode="json")})
            await self._move(job, event, Status.QUEUED, needs=plan.needs)

    async def _counted(self, job: Job) -> bool:
        """Count the check before it begins: one that takes the service down with it must not do so at each start."""
        if job.checks >= _MOST_CHECKS:
            reason = f"The check of its inputs was begun {job.checks} times and never ended. Give smaller files."
            await self._refuse(job, DataError.code, reason)
            return False
        return await self._note_checks(job, job.checks + 1)

    async def _note_checks(self, job: Job, checks: int) -> bool:
        try:
            async with self.store.writes() as session:
                await rows.note(session, job, checks=checks)
        except StaleJobError:
            _LOG.info("%s changed before it was checked", job.id)
            return False
        return True

    async def _refuse(self, job: Job, code: str, reason: str) -> None:
        event = NewEvent("failed", reason, {"code": code})
        await self._move(job, event, Status.FAILED, error_code=code, error_message=reason, log_tail=[], ended_at=now())

    async def _move(self, job: Job, event: NewEvent, to: Status, **fields: object) -> None:
        try:
            async with self.store.writes() as session:
                await rows.change(session, job, event, to, **fields)
        except StaleJobError:
            _LOG.info("%s changed while it was checked", job.id)

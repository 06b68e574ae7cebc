"""Jobs that Ray has and the store does not expect: list those of `ray job submit`, stop those that are over here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from api.backend import JobsBackend, RayStatus, Record
from api.ids import new_job_id
from api.kinds import EXTERNAL
from api.reconcile.start import JOB_KEY, OWNER_KEY
from api.states import ENDED, Status
from api.store import jobs as rows
from api.store.engine import Store
from api.store.jobs import Happening
from api.store.models import Job, now


@dataclass(frozen=True, slots=True)
class Adopter:
    """Deals with submissions that are nobody's current attempt."""

    store: Store
    backend: JobsBackend
    adopt: bool

    async def look(self, records: Sequence[Record]) -> None:
        """Adopt strangers, stop orphans."""
        async with self.store.reads() as session:
            current = await rows.by_submission(session, [record.submission_id for record in records])
            named = {record.metadata[JOB_KEY] for record in records if JOB_KEY in record.metadata}
            ours = await rows.by_ids(session, named)
        for record in records:
            job = current.get(record.submission_id)
            if record.metadata.get(JOB_KEY) in ours:
                await self._stop_orphan(record, job)
            elif job is None and self.adopt:
                await self._adopt(record)

    async def _stop_orphan(self, record: Record, job: Job | None) -> None:
        """An attempt that was given up, or a submission that arrived late, must not run beside its successor."""
        if not record.status.ended and (job is None or job.status in ENDED):
            await self.backend.stop(record.submission_id)

    async def _adopt(self, record: Record) -> None:
        said = Happening("adopted", "It came by `ray job submit`.", {"entrypoint": record.entrypoint[:500]})
        try:
            async with self.store.writes() as session:
                await rows.add(session, _external(record), said)
        except IntegrityError:
            return  # another process was faster; the submission id is unique


def _external(record: Record) -> Job:
    moment = record.started_at or now()
    return Job(
        id=new_job_id(),
        kind=EXTERNAL,
        name=record.metadata.get("job_name", record.submission_id)[:200],
        owner=record.metadata.get(OWNER_KEY, EXTERNAL)[:80],
        status=(Status.STARTING if record.status is RayStatus.PENDING else Status.RUNNING).value,
        spec={},
        effective={},
        labels={},
        attempt=1,
        resume=False,
        retries=0,
        retries_used=0,
        submission_id=record.submission_id,
        started_at=None if record.status is RayStatus.PENDING else moment,
        created_at=moment,
        updated_at=moment,
        events=0,
        version=1,
    )

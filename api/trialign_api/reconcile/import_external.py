"""Submissions that Ray has and the store does not expect.

Those that came by `ray job submit` are imported as jobs of kind `external`; those of a job that is over are stopped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError

from trialign_api import threads
from trialign_api.backend import JobsBackend, RayStatus, Record
from trialign_api.ids import new_job_id
from trialign_api.kinds import EXTERNAL
from trialign_api.paths import Refused, Roots
from trialign_api.reconcile.start import JOB_KEY, OWNER_KEY
from trialign_api.services.history import History
from trialign_api.states import ENDED, Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.jobs import NewEvent
from trialign_api.store.models import Job, now
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("trialign_api.reconcile")
_TOGETHER = 500
"""Names in one query: databases limit them."""
_RUN = re.compile(r"^run: (\S.*)\n", re.MULTILINE)
"""How a training run prints its folder."""
_LONGEST = 200
"""Longest name of a submission that is imported."""


@dataclass(slots=True)
class ExternalImporter:
    """Handles submissions that are not the current attempt of any job."""

    store: Store
    backend: JobsBackend
    history: History
    roots: Roots
    enabled: bool
    """Whether strangers are imported; orphans are stopped in any case."""
    _settled: set[str] = field(default_factory=set)
    """Submissions that are over and handled: Ray lists them for ever, and each look costs a query."""

    async def look(self, records: Sequence[Record]) -> None:
        """Import strangers, stop orphans. A fault of one does not keep the others waiting."""
        new = [record for record in records if record.submission_id not in self._settled]
        for start in range(0, len(new), _TOGETHER):
            await self._look(new[start : start + _TOGETHER])
        self._settled &= {record.submission_id for record in records}

    async def run_of(self, job: Job) -> str | None:
        """The run folder that the log of an imported job names, where its owner may read it."""
        if job.kind != EXTERNAL or job.run is not None:
            return None
        start = await threads.call(lambda: next(self.history.chunks(job.id), b""))
        found = _RUN.search(start.decode("utf-8", "replace"))
        try:
            return await threads.call(self._readable, job.owner, found[1], storage=found[1]) if found else None
        except Refused as refused:
            _LOG.info("the run of %s: %s", job.id, refused.reason)
            return None

    def _readable(self, owner: str, path: str) -> str:
        return self.roots.of(owner).reading(path)

    async def _look(self, records: Sequence[Record]) -> None:
        named = {record.metadata[JOB_KEY] for record in records if JOB_KEY in record.metadata}
        async with self.store.reads() as session:
            current = await rows.status_of_submissions(session, [record.submission_id for record in records])
            ours = await rows.existing(session, named)
        for record in records:
            status = current.get(record.submission_id)
            if record.metadata.get(JOB_KEY) in ours:
                done = await self._stop_orphan(record, status)
            else:
                done = status is not None or not self.enabled or await self._import(record)
            if not done:
                continue
            if record.status.ended:
                self._settled.add(record.submission_id)

    async def _stop_orphan(self, record: Record, status: Status | None) -> bool:
        """An attempt that was given up, or a submission that arrived late, must not run beside its successor."""
        if record.status.ended or (status is not None and status not in ENDED):
            return True
        try:
            await self.backend.stop(record.submission_id)
        except ClusterError as error:
            _LOG.warning("%s cannot be stopped: %s", record.submission_id, error)
        return False

    async def _import(self, record: Record) -> bool:
        """List it as a job; False where that did not work."""
        if len(record.submission_id) > _LONGEST:
            _LOG.info("not imported, its name is too long: %s", record.submission_id)
            return True
        event = NewEvent("imported", "Submitted by `ray job submit`.", {"entrypoint": record.entrypoint[:500]})
        try:
            async with self.store.writes() as session:
                await rows.add(session, _external(record), event)
        except IntegrityError:
            return True  # another process was faster; the submission id is unique
        except Exception:
            _LOG.exception("%s cannot be imported", record.submission_id)
            return False
        return True


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

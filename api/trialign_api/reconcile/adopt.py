"""Jobs that Ray has and the store does not expect: list those of `ray job submit`, stop those that are over here."""

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
from trialign_api.store.jobs import Happening
from trialign_api.store.models import Job, now
from trialign_ray.errors import ClusterError

_LOG = logging.getLogger("trialign_api.reconcile")
_TOGETHER = 500
"""Names in one query; databases have a limit."""
_RUN = re.compile(r"^run: (\S.*)\n", re.MULTILINE)
"""As training announces it."""
_LONGEST = 200
"""Of a submission's name."""


@dataclass(slots=True)
class Adopter:
    """Deals with submissions that are nobody's current attempt."""

    store: Store
    backend: JobsBackend
    history: History
    roots: Roots
    adopt: bool
    _settled: set[str] = field(default_factory=set)
    """Submissions that are over and dealt with: Ray remembers them for ever."""

    async def look(self, records: Sequence[Record]) -> None:
        """Adopt strangers, stop orphans. Whatever is wrong with one, the others are looked at."""
        new = [record for record in records if record.submission_id not in self._settled]
        for start in range(0, len(new), _TOGETHER):
            await self._look(new[start : start + _TOGETHER])
        self._settled &= {record.submission_id for record in records}

    async def run_of(self, job: Job) -> str | None:
        """The run folder that the log of an adopted job names, where its owner may read it."""
        if job.kind != EXTERNAL or job.run is not None:
            return None
        start = await threads.call(lambda: next(self.history.chunks(job.id), b""))
        found = _RUN.search(start.decode("utf-8", "replace"))
        try:
            return self.roots.of(job.owner).reading(found[1]) if found else None
        except Refused as refused:
            _LOG.info("the run of %s: %s", job.id, refused.reason)
            return None

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
                done = status is not None or not self.adopt or await self._adopt(record)
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
            _LOG.warning("%s is to stop: %s", record.submission_id, error)
        return False

    async def _adopt(self, record: Record) -> bool:
        """List it; False where that did not work."""
        if len(record.submission_id) > _LONGEST:
            _LOG.info("not adopted, its name is too long: %s", record.submission_id)
            return True
        said = Happening("adopted", "It came by `ray job submit`.", {"entrypoint": record.entrypoint[:500]})
        try:
            async with self.store.writes() as session:
                await rows.add(session, _external(record), said)
        except IntegrityError:
            return True  # another process was faster; the submission id is unique
        except Exception:
            _LOG.exception("%s cannot be adopted", record.submission_id)
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

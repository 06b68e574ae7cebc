"""Keeps the service's copies of logs and metrics up to date."""

from __future__ import annotations

import errno
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from trialign_api import threads
from trialign_api.backend import JobsBackend, Record
from trialign_api.services import metrics
from trialign_api.services.history import History
from trialign_api.store.models import Job
from trialign_ray.errors import ClusterError, TrialignError

_LOG = logging.getLogger("trialign_api.reconcile")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_SHARE, _QUICK_SECONDS = 0.1, 0.1
"""Largest share of time spent on one job's log, and the time below which it is copied in every round. Ray returns a log
whole or not at all, so a long one is fetched more rarely the longer it takes."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a round copied of one job."""

    progress: dict[str, Any] | None = None
    """The newest metrics in short, where there are new ones."""
    lacks: tuple[str, ...] = ()
    """'log' and 'metrics' where they may have more than the copy."""
    full: bool = False
    """Whether the service's own disk is full."""


@dataclass(slots=True)
class Copier:
    """Copies what one job has written since the last time."""

    backend: JobsBackend
    history: History
    _due: dict[str, float] = field(default_factory=dict)

    async def copy(self, job: Job, record: Record | None) -> Copied:
        """Copy log and metrics as far as they can be read; neither waits for the other."""
        lacks, full, progress = [], False, None
        try:
            if record is not None and not await self._log(job, record):
                lacks.append("log")
        except (ClusterError, OSError) as error:
            lacks.append("log")
            full |= _no_room(job, "log", error)
        try:
            progress = await self._metrics(job)
        except OSError as error:
            lacks.append("metrics")
            full |= _no_room(job, "metrics", error)
        return Copied(progress, tuple(lacks), full)

    def forget(self, submission_id: str | None) -> None:
        """Forget when the log of a submission that ended was due."""
        self._due.pop(submission_id or "", None)

    async def _log(self, job: Job, record: Record) -> bool:
        """The log of the current attempt; False where its turn has not come. Raises ClusterError and OSError."""
        start = time.monotonic()
        if start < self._due.get(record.submission_id, 0.0) and not record.status.ended:
            return False
        try:
            text = await self.backend.logs(record.submission_id)
        finally:
            took = time.monotonic() - start
            if took > _QUICK_SECONDS:
                self._due[record.submission_id] = start + took / _SHARE
        await threads.call(self.history.extend_log, job.id, job.attempt, text)
        return True

    async def _metrics(self, job: Job) -> dict[str, Any] | None:
        """Raises OSError."""
        if job.run is None:
            return None
        try:
            return await threads.call(self._read_metrics, job.id, job.run, storage=job.run)
        except (TrialignError, ValueError, KeyError) as error:
            _LOG.warning("metrics of %s: %s", job.id, error)
            return None

    def _read_metrics(self, job_id: str, run: str) -> dict[str, Any] | None:
        if not self.history.copy_metrics(job_id, run):
            return None
        return metrics.short(self.history.metrics(job_id))


def _no_room(job: Job, what: str, error: Exception) -> bool:
    """A node or a storage that does not answer now is asked again in the next round; a full disk is the operator's."""
    full = isinstance(error, OSError) and error.errno in _NO_ROOM
    _LOG.log(logging.ERROR if full else logging.WARNING, "%s of %s: %s", what, job.id, error)
    return full

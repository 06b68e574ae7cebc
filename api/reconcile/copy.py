"""Keeps the service's copies of logs and metrics up with the run."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from api import threads
from api.backend import JobsBackend, Record
from api.services import metrics
from api.services.history import History
from api.store.models import Job
from trialign_ray.errors import ClusterError, TrialignError

_LOG = logging.getLogger("api.reconcile")
_SHARE, _QUICK_SECONDS = 0.1, 0.1
"""Most of the time that goes into one job's log: Ray gives it whole or not at all, however long it is. A short one is
copied in every round."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a round brought of one job."""

    progress: dict[str, Any] | None
    """The newest metrics in short, where there are new ones."""
    log: bool
    """Whether the log is as Ray has it, for all that is known."""


@dataclass(slots=True)
class Copier:
    """Copies what one job has written since the last time."""

    backend: JobsBackend
    history: History
    _due: dict[str, float] = field(default_factory=dict)

    async def copy(self, job: Job, record: Record | None) -> Copied:
        """Log and metrics. Raises OSError where they cannot be read or kept, and TimeoutError."""
        log = record is None or await self._log(job, record)
        return Copied(await self._metrics(job), log)

    def forget(self, submission_id: str | None) -> None:
        """It is over."""
        self._due.pop(submission_id or "", None)

    async def _log(self, job: Job, record: Record) -> bool:
        """The log of the current attempt. A node that does not answer now is asked again in the next round."""
        start = time.monotonic()
        if start < self._due.get(record.submission_id, 0.0) and not record.status.ended:
            return False
        try:
            text = await self.backend.logs(record.submission_id)
        except ClusterError as error:
            _LOG.warning("log of %s: %s", job.id, error)
            return False
        await threads.read(self.history.extend_log, job.id, job.attempt, text)
        end = time.monotonic()
        if end - start > _QUICK_SECONDS:
            self._due[record.submission_id] = end + (end - start) * (1 - _SHARE) / _SHARE
        return True

    async def _metrics(self, job: Job) -> dict[str, Any] | None:
        if job.run is None:
            return None
        try:
            return await threads.read(self._read_metrics, job.id, job.run)
        except (TrialignError, ValueError, KeyError) as error:
            _LOG.warning("metrics of %s: %s", job.id, error)
            return None

    def _read_metrics(self, job_id: str, run: str) -> dict[str, Any] | None:
        if not self.history.copy_metrics(job_id, run):
            return None
        return metrics.short(self.history.metrics(job_id))

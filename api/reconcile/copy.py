"""Keeps the service's copies of logs and metrics up with the run."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from api.backend import JobsBackend
from api.services import metrics
from api.services.history import History
from api.store.models import Job
from trialign_ray.errors import TrialignError

_LOG = logging.getLogger("api.reconcile")


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies what one job has written since the last time."""

    backend: JobsBackend
    history: History

    async def log(self, job: Job) -> None:
        """The log of the current attempt. A node that does not answer now is asked again in the next round."""
        if job.submission_id is None:
            return
        try:
            text = await self.backend.logs(job.submission_id)
        except TrialignError as error:
            _LOG.warning("log of %s: %s", job.id, error)
            return
        await asyncio.to_thread(self.history.extend_log, job.id, job.attempt, text)

    async def metrics(self, job: Job) -> dict[str, Any] | None:
        """The run's metrics; the newest in short where there are new ones."""
        if job.run is None:
            return None
        try:
            return await asyncio.to_thread(self._metrics, job.id, job.run)
        except (TrialignError, OSError, ValueError, KeyError) as error:
            _LOG.warning("metrics of %s: %s", job.id, error)
            return None

    def _metrics(self, job_id: str, run: str) -> dict[str, Any] | None:
        if not self.history.copy_metrics(job_id, run):
            return None
        return metrics.short(self.history.metrics(job_id))

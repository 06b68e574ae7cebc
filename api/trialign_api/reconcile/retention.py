"""Deletes what has been kept long enough: runs that are over, uploads that nothing reads, parts of no file.

It deletes by the same services as a request does, so nothing that is in use goes, and a deletion that breaks off is
repeated. One that fails is logged, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from trialign_api.auth import Principal
from trialign_api.problems import ApiError
from trialign_api.services.idempotency import Action
from trialign_api.services.jobs import Jobs
from trialign_api.services.uploads import Uploads
from trialign_api.store import jobs as rows
from trialign_api.store import records
from trialign_api.store.models import now
from trialign_api.threads import StorageHungError

_LOG = logging.getLogger("trialign_api.retention")
_SERVICE = Principal("service", "-", frozenset({"admin"}))
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, and for how long; zero days keep it for good."""

    jobs: Jobs
    uploads: Uploads
    runs_days: float
    uploads_days: float

    async def enforce(self) -> None:
        """Delete what is due. Storage that does not answer ends the round: each try may cost a minute and a thread."""
        datasets = self.uploads.files.datasets
        uploads = partial(records.expired_uploads, moment=now(), created_before=_before(self.uploads_days))
        try:
            for upload_id in await self.uploads.expire():
                _LOG.info("%s was not completed in time; its parts are deleted", upload_id)
            async for upload_id in self._due(uploads):
                await self._delete(upload_id, partial(datasets.delete, _SERVICE, upload_id))
            if before := _before(self.runs_days):
                async for job_id in self._due(partial(rows.ended_before, moment=before)):
                    await self._delete(job_id, partial(self.jobs.delete, _SERVICE, job_id, with_run=True))
        except TimeoutError as error:
            _LOG.warning("what has been kept long enough is deleted in the next round: %s", error)
        except Exception:  # the next round tries again
            _LOG.exception("what has been kept long enough cannot be deleted")

    async def _due(self, find: Callable[..., Awaitable[Sequence[str]]]) -> AsyncIterator[str]:
        """What `find` gives, page after page: what has to stay keeps nothing waiting behind it."""
        page: Sequence[str] = [""]
        while page:
            async with self.jobs.store.reads() as session:
                page = await find(session, after=page[-1], limit=_PAGE)
            for one in page:
                yield one

    async def _delete(self, named: str, prepare: Callable[[], Awaitable[Action]]) -> None:
        try:
            delete = await prepare()
            async with self.jobs.store.writes() as session:
                await delete(session)
                await records.audit(session, _SERVICE.owner, _SERVICE.key_id, "retention", named, "")
            _LOG.info("%s was kept long enough; it is deleted", named)
        except (ApiError, StorageHungError) as refused:
            _LOG.info("%s stays: %s", named, refused)
        except TimeoutError:
            raise
        except Exception:  # such as storage that does not answer
            _LOG.exception("%s cannot be deleted", named)


def _before(days: float) -> datetime | None:
    return now() - timedelta(days=days) if days else None

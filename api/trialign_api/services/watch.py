"""Live logs for many readers: one look at the database a second for each job, however many read it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sse_starlette import ServerSentEvent

from trialign_api import threads
from trialign_api.services.history import History
from trialign_api.states import ENDED, Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store

_POLL_SECONDS = 0.5
_FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the watchers know it."""

    status: Status
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A reader's position in a log: attempt and byte offset. It is the id of a server-sent event."""

    attempt: int
    offset: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.offset}"

    @classmethod
    def parse(cls, text: str | None) -> LogPosition:
        """The position that Last-Event-ID names; the start where it names none."""
        attempt, dash, offset = (text or "").partition("-")
        if dash and attempt.isdecimal() and offset.isdecimal() and len(attempt) < 6 and len(offset) < 16:
            return cls(int(attempt), int(offset))
        return cls(1, 0)


@dataclass(slots=True)
class _Watched:
    """What the readers of one job share."""

    readers: int = 0
    seen: Seen | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Watch:
    """Follows jobs."""

    store: Store
    history: History
    _watched: dict[str, _Watched] = field(default_factory=dict)

    async def start(self, job_id: str, last: str | None, tail: int | None) -> LogPosition:
        """Where a reader begins: behind what it has (Last-Event-ID), at the last `tail` lines, or at the start."""
        if last is None and tail is not None:
            return LogPosition(*await threads.call(self.history.back, job_id, tail))
        return LogPosition.parse(last)

    async def follow(self, job_id: str, start: LogPosition) -> AsyncIterator[ServerSentEvent]:
        """Events `log` (id: where to go on) as the log grows, `status` when that changes, and `end` at the end."""
        position, status, began = start, None, time.monotonic()
        with self._reading(job_id) as watched:
            while True:
                seen = await self._look(watched, job_id, began)
                if seen.status != status:
                    status = seen.status
                    yield ServerSentEvent(status.value, event="status")
                data = await self._piece(job_id, position, seen)
                if data:
                    position = LogPosition(position.attempt, position.offset + len(data))
                    yield ServerSentEvent(
                        data.decode("utf-8", "replace").removesuffix("\n"), event="log", id=str(position)
                    )
                elif position.attempt < seen.attempt:
                    position = LogPosition(position.attempt + 1, 0)
                elif seen.status in ENDED:
                    yield ServerSentEvent(seen.status.value, event="end", id=str(position))
                    return
                else:
                    await asyncio.sleep(_POLL_SECONDS)

    @contextmanager
    def _reading(self, job_id: str) -> Iterator[_Watched]:
        """One reader more; with the last one goes what they share."""
        watched = self._watched.setdefault(job_id, _Watched())
        watched.readers += 1
        try:
            yield watched
        finally:
            watched.readers -= 1
            if not watched.readers:
                del self._watched[job_id]

    async def _piece(self, job_id: str, position: LogPosition, seen: Seen) -> bytes:
        over = position.attempt < seen.attempt or seen.status in ENDED
        return await threads.call(lambda: self.history.piece(job_id, position.attempt, position.offset, over=over))

    async def _look(self, watched: _Watched, job_id: str, began: float) -> Seen:
        """The job as it was a moment ago, but not before the reader came: who resumes a job may follow it at once."""
        async with watched.lock:
            known = watched.seen
            if known is None or known.at < max(began, time.monotonic() - _FRESH_SECONDS):
                known = watched.seen = await self._read(job_id)
        return known

    async def _read(self, job_id: str) -> Seen:
        moment = time.monotonic()
        async with self.store.reads() as session:
            job = await rows.get(session, job_id)
        if job is None:
            raise AssertionError(f"job {job_id} vanished")
        return Seen(Status(job.status), job.attempt, moment)

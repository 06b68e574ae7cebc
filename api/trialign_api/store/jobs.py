"""Rows of jobs and events, and the one way in which a job changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from sqlalchemy.orm.attributes import set_committed_value

from trialign_api.states import ENDED, MOVES, Status
from trialign_api.store.models import Event, Job, JobLabel, now


class StaleJobError(Exception):
    """The job was changed since it was read; read it again."""


class IllegalMoveError(Exception):
    """The state machine does not allow the step."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to record: its type, a sentence for people, and fields for programs."""

    type: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs to list. None stands for all."""

    owner: str | None = None
    statuses: tuple[Status, ...] = ()
    kind: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


async def add(session: AsyncSession, job: Job, first: NewEvent) -> None:
    """Store a new job and its first event."""
    session.add(job)
    await session.flush()
    session.add_all(JobLabel(job_id=job.id, key=key, value=value) for key, value in job.labels.items())
    await change(session, job, first)


async def get(session: AsyncSession, job_id: str, *, lock: bool = False) -> Job | None:
    """One job; with `lock` nobody else changes it before this transaction ends."""
    return await session.get(Job, job_id, with_for_update=lock or None)


async def find(session: AsyncSession, wanted: Filter, *, after: str | None, limit: int) -> Sequence[Job]:
    """The newest jobs first, those before `after` in that order."""
    query = select(Job).options(defer(Job.effective)).where(*_conditions(wanted)).order_by(Job.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Job.id < after)
    return (await session.scalars(query)).all()


async def in_status(session: AsyncSession, statuses: Iterable[Status], limit: int = 10_000) -> Sequence[Job]:
    """Jobs in any of the statuses, the oldest first."""
    wanted = [status.value for status in statuses]
    query = select(Job).where(Job.status.in_(wanted)).order_by(Job.id).limit(limit)
    return (await session.scalars(query)).all()


async def queued(session: AsyncSession, of_owner: int, moment: datetime) -> Sequence[Job]:
    """Queued jobs that are due, and of each owner at most the first `of_owner`: by priority, then by age."""
    place = func.row_number().over(partition_by=Job.owner, order_by=(Job.priority.desc(), Job.id))
    due = (Job.status == Status.QUEUED.value) & (Job.due_at.is_(None) | (Job.due_at <= moment))
    heads = select(Job.id, place.label("place")).where(due).subquery()
    query = (
        select(Job)
        .join(heads, Job.id == heads.c.id)
        .where(heads.c.place <= of_owner)
        .order_by(Job.priority.desc(), Job.id)
    )
    return (await session.scalars(query)).all()


async def ended_before(session: AsyncSession, moment: datetime, *, after: str, limit: int) -> Sequence[str]:
    """Jobs that were over then, the oldest first, behind the job `after` in that order."""
    over = (Job.ended_at < moment) & Job.status.in_([status.value for status in ENDED]) & Job.deleted_at.is_(None)
    return (await session.scalars(select(Job.id).where(over, Job.id > after).order_by(Job.id).limit(limit))).all()


async def erase(session: AsyncSession, job: Job, event: NewEvent) -> None:
    """Show a job that is over to nobody any more, and forget what its owner wrote; raises StaleJobError."""
    blank: dict[str, Any] = {"name": "", "spec": {}, "effective": {}, "labels": {}, "run": None, "progress": None}
    blank |= {"error_message": None, "log_tail": None, "deleted_at": now()}
    await session.execute(delete(JobLabel).where(JobLabel.job_id == job.id))
    await change(session, job, event, **blank)


async def status_of_submissions(session: AsyncSession, submission_ids: Iterable[str]) -> dict[str, Status]:
    """Status of those jobs whose current attempt has one of these names on Ray, by that name."""
    wanted = Job.submission_id.in_(list(submission_ids))
    found = await session.execute(select(Job.submission_id, Job.status).where(wanted))
    return {name: Status(status) for name, status in found.tuples() if name is not None}


async def existing(session: AsyncSession, job_ids: Iterable[str]) -> set[str]:
    """Which of the ids are jobs."""
    return set(await session.scalars(select(Job.id).where(Job.id.in_(list(job_ids)))))


async def count(session: AsyncSession, owner: str, statuses: Iterable[Status]) -> int:
    """How many jobs of an owner are in any of the statuses."""
    wanted = Job.status.in_([status.value for status in statuses])
    return await session.scalar(select(func.count()).select_from(Job).where(wanted, Job.owner == owner)) or 0


async def count_by_status(session: AsyncSession) -> dict[str, int]:
    """How many jobs there are in each status that has any."""
    rows = await session.execute(select(Job.status, func.count()).where(Job.deleted_at.is_(None)).group_by(Job.status))
    return dict(rows.tuples().all())


async def change(session: AsyncSession, job: Job, event: NewEvent, to: Status | None = None, **fields: Any) -> None:
    """Write `fields` and, with `to`, the next status of `job`, and append `event`: all or nothing.

    Raises IllegalMoveError where the state machine forbids the step, StaleJobError where the database holds a newer
    version of `job`.
    """
    if to is not None:
        if to not in MOVES[Status(job.status)]:
            raise IllegalMoveError(f"{job.status} -> {to}")
        fields["status"] = to.value
    moment = now()
    written = {**fields, "updated_at": moment, "events": job.events + 1, "version": job.version + 1}
    await _write(session, job, written)
    values = {"type": event.type, "message": event.message, "data": dict(event.data)}
    session.add(Event(job_id=job.id, seq=job.events, at=moment, **values))
    await session.flush()


async def note(session: AsyncSession, job: Job, **fields: Any) -> None:
    """Write `fields` that are no event, such as progress; raises StaleJobError."""
    await _write(session, job, {**fields, "updated_at": now(), "version": job.version + 1})


async def events_of(session: AsyncSession, job_id: str, *, after: int, limit: int) -> Sequence[Event]:
    """Events in their order, those behind number `after`."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit)
    return (await session.scalars(query)).all()


async def _write(session: AsyncSession, job: Job, values: dict[str, Any]) -> None:
    seen = (Job.id == job.id, Job.version == job.version)
    statement = update(Job).where(*seen).values(values).execution_options(synchronize_session=False)
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101 an UPDATE gives one
    if result.rowcount != 1:
        raise StaleJobError(job.id)
    for name, value in values.items():
        set_committed_value(job, name, value)


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [Job.deleted_at.is_(None)]
    if wanted.owner is not None:
        found.append(Job.owner == wanted.owner)
    if wanted.statuses:
        found.append(Job.status.in_([status.value for status in wanted.statuses]))
    if wanted.kind is not None:
        found.append(Job.kind == wanted.kind)
    if wanted.created_after is not None:
        found.append(Job.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        found.append(Job.created_at < wanted.created_before)
    for key, value in wanted.labels:
        found.append(Job.id.in_(select(JobLabel.job_id).where(JobLabel.key == key, JobLabel.value == value)))
    return found

"""Rows of API keys, audit, idempotency, leases and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api.store.models import (
    ApiKey,
    AuditRecord,
    Base,
    DatasetRow,
    IdempotencyRow,
    LeaseRow,
    PartRow,
    UploadRow,
    now,
)


async def insert_once(session: AsyncSession, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless its primary key is taken; whether it was inserted.

    A transaction that inserts the same key at the same time waits here until the other one has ended.
    """
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(values).on_conflict_do_nothing()
    return _count(await session.execute(statement)) == 1


async def api_key(session: AsyncSession, key_id: str) -> ApiKey | None:
    """One key, revoked or not."""
    return await session.get(ApiKey, key_id)


async def api_keys(session: AsyncSession) -> Sequence[ApiKey]:
    """Every key, the oldest first."""
    return (await session.scalars(select(ApiKey).order_by(ApiKey.created_at))).all()


async def revoke(session: AsyncSession, key_id: str) -> bool:
    """End a key; whether there was one that was not revoked."""
    statement = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now())
    return _count(await session.execute(statement)) == 1


async def answered(session: AsyncSession, owner: str, route: str, key: str) -> IdempotencyRow | None:
    """What a request with this Idempotency-Key was answered."""
    return await session.get(IdempotencyRow, (owner, route, key))


async def forget_answers(session: AsyncSession, before: datetime) -> int:
    """Delete what was answered before that moment; how many answers."""
    return _count(await session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < before)))


async def audit(session: AsyncSession, owner: str, key_id: str, action: str, target: str, remote: str) -> None:
    """Record who changed what, in the transaction that changes it."""
    session.add(AuditRecord(at=now(), owner=owner, key_id=key_id, action=action, target=target, remote=remote))
    await session.flush()


async def audits(session: AsyncSession, limit: int) -> Sequence[AuditRecord]:
    """The newest first."""
    return (await session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc()).limit(limit))).all()


Term = tuple[str, datetime]
"""Holder and end of a lease, as its row has them."""


async def lease_term(session: AsyncSession, name: str) -> Term | None:
    """Who holds the lease, and until when."""
    row = await session.get(LeaseRow, name)
    return None if row is None else (row.holder, row.until)


async def take_lease(session: AsyncSession, name: str, holder: str, seconds: float, dead: Term | None = None) -> bool:
    """Take, or renew, the lease `name` for `seconds`; whether `holder` has it. A `dead` term is over in any case."""
    moment = now()
    until = moment + timedelta(seconds=seconds)
    if await insert_once(session, LeaseRow, {"name": name, "holder": holder, "until": until}):
        return True
    free = (LeaseRow.holder == holder) | (LeaseRow.until < moment)
    if dead is not None:
        free |= (LeaseRow.holder == dead[0]) & (LeaseRow.until == dead[1])
    statement = update(LeaseRow).where(LeaseRow.name == name, free).values(holder=holder, until=until)
    return _count(await session.execute(statement)) == 1


async def drop_lease(session: AsyncSession, name: str, holder: str) -> None:
    """Give the lease back, so that another process need not wait for its end."""
    statement = update(LeaseRow).where(LeaseRow.name == name, LeaseRow.holder == holder).values(until=_LONG_AGO)
    await session.execute(statement)


async def datasets_of(
    session: AsyncSession,
    owner: str | None,
    *,
    purpose: str | None = None,
    after: str | None,
    limit: int,
    oldest_first: bool = False,
) -> Sequence[DatasetRow]:
    """The newest first; of every owner, or for every purpose, with None."""
    query = select(DatasetRow).order_by(DatasetRow.id if oldest_first else DatasetRow.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(DatasetRow.owner == owner)
    if purpose is not None:
        query = query.where(DatasetRow.purpose == purpose)
    if after is not None:
        query = query.where(DatasetRow.id > after if oldest_first else DatasetRow.id < after)
    return (await session.scalars(query)).all()


async def alone(session: AsyncSession, owner: str) -> None:
    """From here to the end of the transaction no other one is here for the same owner.

    What is read is then still so when it is acted on. SQLite has one writer, so it is alone anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(_OWNERS, func.hashtext(owner))))


async def expired_uploads(
    session: AsyncSession, moment: datetime, created_before: datetime | None, *, after: str, limit: int
) -> Sequence[str]:
    """Uploads whose own time is over, and those that were made before a moment; the oldest first."""
    due = DatasetRow.expires_at < moment
    if created_before is not None:
        due |= DatasetRow.created_at < created_before
    query = select(DatasetRow.id).where(due, DatasetRow.id > after).order_by(DatasetRow.id).limit(limit)
    return (await session.scalars(query)).all()


async def expire_uploads(session: AsyncSession, moment: datetime, limit: int) -> Sequence[str]:
    """End uploads in parts whose time is over, and forget their parts; which ones.

    An upload that is completed at the same moment stays so: the UPDATE waits for it and looks at its status again.
    """
    pending = UploadRow.status == "pending"
    due = select(UploadRow.id).where(pending, UploadRow.expires_at < moment).limit(limit)
    statement = update(UploadRow).where(UploadRow.id.in_(due), pending).values(status="expired").returning(UploadRow.id)
    over = (await session.scalars(statement.execution_options(synchronize_session=False))).all()
    await session.execute(delete(PartRow).where(PartRow.upload_id.in_(over)))
    return over


async def parts_of(session: AsyncSession, upload_id: str) -> Sequence[PartRow]:
    """The parts of an upload in the order of their arrival."""
    return (await session.scalars(select(PartRow).where(PartRow.upload_id == upload_id).order_by(PartRow.id))).all()


async def parts_size(session: AsyncSession, upload_id: str) -> tuple[int, int]:
    """How many parts of an upload are here, and their bytes together."""
    query = select(func.count(), func.coalesce(func.sum(PartRow.size), 0)).where(PartRow.upload_id == upload_id)
    count, size = (await session.execute(query)).one()
    return int(count), int(size)


async def forget_parts(session: AsyncSession, upload_id: str) -> None:
    """Delete the rows of an upload's parts."""
    await session.execute(delete(PartRow).where(PartRow.upload_id == upload_id))


async def stored_bytes(session: AsyncSession, owner: str, *, besides: str | None = None) -> int:
    """Bytes of an owner's uploads, and those that are announced by parts that still come, but for one of these."""
    stored = select(func.sum(DatasetRow.held)).where(DatasetRow.owner == owner)
    pending = (UploadRow.owner == owner) & (UploadRow.status == "pending") & (UploadRow.expires_at > now())
    announced = select(func.sum(UploadRow.size)).where(pending, UploadRow.id != (besides or ""))
    return int(await session.scalar(stored) or 0) + int(await session.scalar(announced) or 0)


_OWNERS = 7221302
"""Class of the owners' advisory locks."""
_LONG_AGO = datetime.fromtimestamp(0, tz=now().tzinfo)


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)  # noqa: S101 INSERT and UPDATE give one
    return int(result.rowcount)

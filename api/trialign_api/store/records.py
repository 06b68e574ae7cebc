"""Rows of API keys, audit, idempotency, leases and datasets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api.store.models import ApiKey, AuditRecord, Base, DatasetRow, IdempotencyRow, LeaseRow, now


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
    session: AsyncSession, owner: str | None, *, after: str | None, limit: int
) -> Sequence[DatasetRow]:
    """The newest first; of every owner with None."""
    query = select(DatasetRow).order_by(DatasetRow.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(DatasetRow.owner == owner)
    if after is not None:
        query = query.where(DatasetRow.id < after)
    return (await session.scalars(query)).all()


async def stored_bytes(session: AsyncSession, owner: str) -> int:
    """Bytes of an owner's uploads."""
    return await session.scalar(select(func.sum(DatasetRow.size)).where(DatasetRow.owner == owner)) or 0


_LONG_AGO = datetime.fromtimestamp(0, tz=now().tzinfo)


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)  # noqa: S101 INSERT and UPDATE give one
    return int(result.rowcount)

"""Idempotency-Key: a request that is sent twice is done once, and answered alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api.auth import Principal
from trialign_api.problems import ApiError
from trialign_api.store import records
from trialign_api.store.engine import Store
from trialign_api.store.models import IdempotencyRow, now

Action = Callable[[AsyncSession], Awaitable[BaseModel]]
"""What is done within the transaction; gives the answer."""
Prepare = Callable[[], Awaitable[Action]]
"""What comes before the transaction, such as work on storage; gives what is done within."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that changes something."""

    who: Principal
    route: str
    """Method and path."""
    key: str | None
    """Its Idempotency-Key."""
    fingerprint: str
    """SHA-256 of its body."""
    remote: str


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Runs actions, each in one transaction with its audit entry and with the answer that is kept for repeats."""

    store: Store
    wake: Callable[[], None]
    """Tells the reconciler that there may be work."""

    async def do(self, request: Request, status: int, action: Action) -> JSONResponse:
        """Run `action`, or repeat the earlier answer; raises ApiError 409 where the key came with another body."""
        async with self.store.writes() as session:
            if request.key is not None and not await self._claim(session, request):
                return await self._repeat(session, request)
            made = (await action(session)).model_dump(mode="json")
            await self._record(session, request, status, made)
        self.wake()
        return JSONResponse(made, status)

    async def prepare(self, request: Request, status: int, prepare: Prepare) -> JSONResponse:
        """`do` with the action that `prepare` gives.

        SQLite has one writer, so what may take long is prepared before its transaction. A repeat is looked up before
        that: it gets the first answer, whatever has become of what it names.
        """
        if request.key is not None:
            async with self.store.reads() as session:
                if await self._earlier(session, request):
                    return await self._repeat(session, request)
        return await self.do(request, status, await prepare())

    async def _claim(self, session: AsyncSession, request: Request) -> bool:
        values: dict[str, Any] = {"owner": request.who.owner, "route": request.route, "key": request.key}
        values |= {"fingerprint": request.fingerprint, "status": 0, "body": {}, "created_at": now()}
        return await records.insert_once(session, IdempotencyRow, values)

    async def _earlier(self, session: AsyncSession, request: Request) -> IdempotencyRow | None:
        return await records.answered(session, request.who.owner, request.route, request.key or "")

    async def _repeat(self, session: AsyncSession, request: Request) -> JSONResponse:
        found = await self._earlier(session, request)
        if found is None or found.fingerprint != request.fingerprint:
            detail = "This Idempotency-Key came with another body before. Send a new key with a new request."
            raise ApiError(409, "idempotency_conflict", detail)
        return JSONResponse(found.body, found.status, {"Idempotency-Replayed": "true"})

    async def _record(self, session: AsyncSession, request: Request, status: int, made: dict[str, Any]) -> None:
        who = request.who
        await records.audit(session, who.owner, who.key_id, request.route[:60], str(made.get("id", "")), request.remote)
        if request.key is not None:
            row = await self._earlier(session, request)
            assert row is not None  # noqa: S101 claimed in this transaction
            row.status, row.body = status, made

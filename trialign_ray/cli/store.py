"""The control plane's settings and database, as commands on its own machine use them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trialign_ray.errors import require

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from trialign_api.settings import Settings

T = TypeVar("T")
_SERVER = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "sse_starlette", "prometheus_client")


def require_server() -> None:
    """Raises MissingExtraError where the packages of the extra `server` are not installed."""
    require("server", *_SERVER)


def open_settings(data: Path) -> Settings:
    """The settings of the environment, with the folder `data` and an up-to-date database.

    Raises SpecError and MissingExtraError.
    """
    require_server()
    from trialign_api.settings import Settings
    from trialign_api.store.migrate import upgrade

    settings = Settings.from_env(data=data)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    upgrade(settings.database_url)
    return settings


async def create_key(settings: Settings, owner: str, scope: Any) -> str:
    """Store a new key and return it, with an entry in the audit."""
    from trialign_api import auth

    async def create(session: AsyncSession) -> str:
        made = await auth.create_key(session, owner, frozenset({scope}))
        await _audit(session, "keys create", made.split("_")[1])
        return made

    return await with_store(settings, create)


async def revoke_key(settings: Settings, key_id: str) -> bool:
    """End a key; whether there was such a key."""
    from trialign_api.store import records

    async def revoke(session: AsyncSession) -> bool:
        revoked = await records.revoke(session, key_id)
        if revoked:
            await _audit(session, "keys revoke", key_id)
        return revoked

    return await with_store(settings, revoke)


async def _audit(session: AsyncSession, action: str, key_id: str) -> None:
    """Who changes keys here has an account on this machine instead of a key."""
    import getpass
    import socket

    from trialign_api.store import records

    try:
        account = getpass.getuser()
    except KeyError:  # a container's user need not have a name
        account = f"uid {os.getuid()}"
    await records.audit(session, account[:80], "", action, key_id, socket.gethostname()[:80])


async def with_store(settings: Settings, action: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """The result of `action` in a transaction of its own."""
    from trialign_api.store.engine import Store

    store = Store(settings.database_url)
    try:
        async with store.writes() as session:
            return await action(session)
    finally:
        await store.close()

"""Alembic's entry: run the migrations over one asynchronous connection."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from trialign_api.store.engine import writer_engine
from trialign_api.store.models import Base

_LOCK = 7221301
"""Two processes that start together migrate one after the other (PostgreSQL advisory lock)."""


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        context.run_migrations()


async def _main() -> None:
    engine = writer_engine(context.config.attributes["url"])
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(_main())

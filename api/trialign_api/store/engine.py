"""Connections and transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from trialign_api import text as rule

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
)
_JSON = {"json_serializer": rule.dumps, "json_deserializer": rule.loads}
"""What is stored can be read, and what was stored before cannot break a list."""
_CONNECT_SECONDS, _COMMAND_SECONDS = 10, 60


class Store:
    """The database. `reads()` and `writes()` are transactions; what a `writes()` block did is whole or not at all.

    SQLite has one writer and many readers at once (WAL), so it gets an engine for each: the writer takes the lock when
    its transaction begins, and no transaction fails half-way because another one wrote.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._writer = writer_engine(url, _COMMAND_SECONDS)
        self._reader = _sqlite(url, "BEGIN", pool_size=8) if is_sqlite(url) else self._writer

    @asynccontextmanager
    async def reads(self) -> AsyncIterator[AsyncSession]:
        """A transaction for reading. On SQLite all of it sees one moment, on PostgreSQL each statement its own."""
        async with AsyncSession(self._reader, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def writes(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed when the block ends well."""
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    async def ping(self) -> None:
        """Raise where the database does not answer."""
        async with self.reads() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        for engine in {self._writer, self._reader}:
            await engine.dispose()


def is_sqlite(url: str) -> bool:
    """Whether `url` names the embedded database."""
    return make_url(url).get_backend_name() == "sqlite"


def writer_engine(url: str, command_seconds: float | None = None) -> AsyncEngine:
    """Connections whose transactions, of table changes too, are atomic; a migration may take its time."""
    if is_sqlite(url):
        return _sqlite(url, "BEGIN IMMEDIATE", pool_size=1)
    patience = {"timeout": _CONNECT_SECONDS, "command_timeout": command_seconds}
    return create_async_engine(url, pool_size=16, max_overflow=16, pool_pre_ping=True, connect_args=patience, **_JSON)


def _sqlite(url: str, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=0, pool_timeout=60, **_JSON)

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine

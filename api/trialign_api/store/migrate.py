"""Bring a database to the tables that this release knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from trialign_api.store.engine import is_sqlite

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate up. Blocking: it runs its own event loop, so call it from a thread where one runs already."""
    database = make_url(url).database
    if is_sqlite(url) and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    command.upgrade(_config(url), revision)


def head() -> str:
    """The newest revision."""
    found = ScriptDirectory.from_config(_config("")).get_current_head()
    if found is None:
        raise AssertionError("no migrations")
    return found


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["url"] = url
    return config

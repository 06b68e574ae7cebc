"""API keys: `tk_<id>_<secret>`, 256 random bits, of which the database holds only a SHA-256.

A plain hash suffices because the secret is random: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api.paths import is_owner
from trialign_api.problems import ApiError
from trialign_api.store import records
from trialign_api.store.engine import Store
from trialign_api.store.models import ApiKey, now
from trialign_ray.errors import SpecError

Scope = Literal["read", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_KEY = re.compile(r"tk_([0-9a-f]{12})_([0-9a-f]{64})")
_FRESH_SECONDS = 1.0
_MOST = 10_000
"""Keys that are remembered at once."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    owner: str
    key_id: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Each scope includes those before it: read, submit, admin."""
        held = [rank for rank, name in enumerate(SCOPES) if name in self.scopes]
        return bool(held) and max(held) >= SCOPES.index(scope)

    @property
    def sees(self) -> str | None:
        """Whose jobs: its own owner's, everybody's (None) for an admin."""
        return None if self.may("admin") else self.owner


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks. To read, a good key is good for a second: most requests of a busy client ask no database for it."""

    store: Store
    _seen: dict[bytes, tuple[Principal, float]] = field(default_factory=dict)
    """By the SHA-256 of the header, with the moment of the look."""

    async def who(self, header: str | None, *, fresh: bool) -> Principal:
        """Who the Authorization header says; `fresh` asks in any case. Raises ApiError 401."""
        name, moment = hashlib.sha256((header or "").encode()).digest(), time.monotonic()
        known = self._seen.get(name)
        if not fresh and known is not None and moment - known[1] < _FRESH_SECONDS:
            return known[0]
        async with self.store.reads() as session:
            found = await authenticate(session, header)
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[name] = (found, moment)
        return found


async def create_key(session: AsyncSession, owner: str, scopes: frozenset[Scope]) -> str:
    """Store a new key and return it; it can never be read again. Raises SpecError for an owner's name."""
    if not is_owner(owner):
        raise SpecError(f"owner {owner!r}: give at most 80 of a-z, 0-9, '.', '_' and '-', first and last a-z or 0-9.")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    session.add(
        ApiKey(id=key_id, sha256=_digest(secret), owner=owner, scopes=sorted(scopes), created_at=now(), revoked_at=None)
    )
    await session.flush()
    return f"tk_{key_id}_{secret}"


async def authenticate(session: AsyncSession, header: str | None) -> Principal:
    """Who the Authorization header says; raises ApiError 401."""
    scheme, _, given = (header or "").partition(" ")
    found = _KEY.fullmatch(given.strip()) if scheme.lower() == "bearer" else None
    row = await records.api_key(session, found[1]) if found else None
    if found is None or row is None or row.revoked_at is not None or not _same(row, found[2]):
        raise ApiError(
            401,
            "unauthorized",
            "Send a valid key: 'Authorization: Bearer tk_...'. `trialign keys create` makes one.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Principal(row.owner, row.id, frozenset(row.scopes))


def _same(row: ApiKey, secret: str) -> bool:
    return hmac.compare_digest(row.sha256, _digest(secret))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

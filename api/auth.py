"""API keys: `tk_<id>_<secret>`, 256 random bits, of which the database holds only a SHA-256.

A plain hash suffices because the secret is random: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import ApiError
from api.store import records
from api.store.models import ApiKey, now

Scope = Literal["read", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_KEY = re.compile(r"tk_([0-9a-f]{12})_([0-9a-f]{64})")


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


async def create_key(session: AsyncSession, owner: str, scopes: frozenset[Scope]) -> str:
    """Store a new key and return it; it can never be read again."""
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

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
from ipaddress import IPv6Network
from typing import Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api.limits import AtOnce, RateLimit
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
"""Keys remembered at once."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller."""

    owner: str
    key_id: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Each scope includes those before it: read, submit, admin."""
        held = [rank for rank, name in enumerate(SCOPES) if name in self.scopes]
        return bool(held) and max(held) >= SCOPES.index(scope)

    @property
    def sees(self) -> str | None:
        """Owner of the jobs that it may see; None for all owners, as an admin may."""
        return None if self.may("admin") else self.owner


@dataclass(frozen=True, slots=True)
class Keys:
    """Who calls. For reading, a valid key stays valid for a second: a busy client seldom costs a database look-up."""

    store: Store
    rate: RateLimit
    at_once: AtOnce
    _seen: dict[bytes, tuple[Principal, float]] = field(default_factory=dict)
    """Valid keys, by the SHA-256 of the header, with the time of the look-up."""

    async def who(self, header: str | None, address: str, *, fresh: bool) -> Principal:
        """The caller by the Authorization header; `fresh` asks the database in any case.

        Raises ApiError 401, and 429 before the database is asked: a key that was valid spends its own requests, any
        other those of the client's network, or made-up keys would cost a look-up each. A new valid key gives that back.
        """
        digest, moment, client = hashlib.sha256((header or "").encode()).digest(), time.monotonic(), network(address)
        key_id, secret = _presented(header)
        known = self._seen.get(digest)
        self.rate.spend(f"key {key_id}" if known else f"address {client}")
        if known and not fresh and moment - known[1] < _FRESH_SECONDS:
            return known[0]
        async with self.store.reads() as session:
            found = await _valid(session, key_id, secret)
        if found is None:
            self._seen.pop(digest, None)
            raise _unauthorized()
        if not known:
            self.rate.give_back(f"address {client}")
            self.rate.spend(f"key {key_id}")
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[digest] = (found, moment)
        return found


def network(address: str) -> str:
    """Whose address it is: an IPv6 client has 2^64 of them, so its /64 network; anything else stands for itself."""
    try:
        return str(IPv6Network((address, 64), strict=False))
    except ValueError:
        return address


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


def _presented(header: str | None) -> tuple[str, str]:
    """Id and secret of the key in an Authorization header; raises ApiError 401 where it holds none."""
    scheme, _, given = (header or "").partition(" ")
    found = _KEY.fullmatch(given.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise _unauthorized()
    return found[1], found[2]


async def _valid(session: AsyncSession, key_id: str, secret: str) -> Principal | None:
    """Whose key it is, None where there is none such or it was revoked."""
    row = await records.api_key(session, key_id)
    if row is None or row.revoked_at is not None or not hmac.compare_digest(row.sha256, _digest(secret)):
        return None
    return Principal(row.owner, row.id, frozenset(row.scopes))


def _unauthorized() -> ApiError:
    detail = "Send a valid key: 'Authorization: Bearer tk_...'. `trialign keys create` makes one."
    return ApiError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

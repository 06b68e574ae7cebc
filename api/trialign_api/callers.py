"""What goes over the wire about callers and their keys."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from trialign_api.auth import SCOPES, Principal
from trialign_api.schemas import Out
from trialign_api.store import models


class CallerOut(Out):
    """Whose key this is, and what it may."""

    object: Literal["caller"] = "caller"
    owner: str
    key_id: str
    scopes: list[str]
    """read, submit, admin: those that the key has, with those that they include."""

    @classmethod
    def of(cls, who: Principal) -> Self:
        """What a caller sees of itself."""
        return cls(owner=who.owner, key_id=who.key_id, scopes=[scope for scope in SCOPES if who.may(scope)])


class KeyOut(Out):
    """An API key, without its secret."""

    id: str
    owner: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: models.ApiKey) -> Self:
        """What admins see of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})

"""Limits that protect the service: bytes of a body, requests of a key or of an address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trialign_api.problems import ApiError

_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class RateLimit:
    """A token bucket a client, in this process: `rate` tokens a second, at most `burst` saved up.

    Of more than 10,000 clients those seen last are kept: a table of fixed size, whatever callers make up.
    """

    rate: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def spend(self, client: str) -> None:
        """Take a token; raises ApiError 429 where none is left."""
        moment = self.clock()
        tokens, since = self._buckets.pop(client, (float(self.burst), moment))
        tokens = min(self.burst, tokens + (moment - since) * self.rate)
        self._buckets[client] = (max(tokens - 1, 0) if tokens >= 1 else tokens, moment)
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait = max(1, round((1 - tokens) / self.rate))
            detail = f"More than {self.rate:g} requests a second. Try again in {wait} s."
            raise ApiError(429, "rate_limited", detail, headers={"Retry-After": str(wait)})

    def give_back(self, client: str) -> None:
        """Return a token that was spent."""
        if client in self._buckets:
            tokens, since = self._buckets[client]
            self._buckets[client] = (tokens + 1, since)


class BodyLimit:
    """ASGI middleware: refuses a body that is too long before and while it arrives."""

    def __init__(self, app: ASGIApp, most: int, uploads: int, upload_path: str) -> None:
        self._app, self._most, self._uploads, self._upload_path = app, most, uploads, upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._uploads if scope["path"] == self._upload_path else self._most
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await _too_large(most).response()(scope, receive, send)
            return
        await self._app(scope, _counted(receive, most), send)


def _counted(receive: Receive, most: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            refused = _too_large(most)
            raise HTTPException(refused.status, refused.detail)  # the one kind that FastAPI lets through from here
        return message

    return counted


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"The body is longer than {most} bytes.")

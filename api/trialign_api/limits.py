"""Limits that protect the service: bytes of a body, requests of a key or of an address."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trialign_api.problems import ApiError

_MOST_BUCKETS = 10_000
BODY_SECONDS = 60.0
"""Longest pause within a body."""


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


@dataclass(frozen=True, slots=True)
class AtOnce:
    """How many requests of one caller may be under way, streams and downloads included."""

    most: int
    _held: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def hold(self, client: str) -> Iterator[None]:
        """One more while the block runs; raises ApiError 429 where it would be one too many."""
        if self._held[client] >= self.most:
            detail = f"{self.most} requests of this key are under way. End a stream or wait for an answer."
            raise ApiError(429, "too_many_at_once", detail, headers={"Retry-After": "1"})
        self._held[client] += 1
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]


class BodyLimit:
    """ASGI middleware: refuses a body that is too long before and while it arrives, and one that stops arriving."""

    def __init__(self, app: ASGIApp, most: int, longer: Mapping[str, int]) -> None:
        """`longer`: most bytes of a body by a pattern of paths, elsewhere `most`."""
        self._app, self._most = app, most
        self._longer = [(re.compile(pattern), bytes_) for pattern, bytes_ in longer.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = next((most for path, most in self._longer if path.fullmatch(scope["path"])), self._most)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > most:
            await _too_large(most).response(scope["path"])(scope, receive, send)
            return
        await self._app(scope, _counted(receive, most), send)


def _counted(receive: Receive, most: int) -> Receive:
    seen, arriving = 0, True

    async def counted() -> Message:
        nonlocal seen, arriving
        try:  # what comes after the body is the end of the connection, which may take its time
            message = await (asyncio.wait_for(receive(), BODY_SECONDS) if arriving else receive())
        except TimeoutError:
            raise HTTPException(408, f"Nothing of the body came for {BODY_SECONDS:g} s.") from None
        arriving = message.get("more_body", False)
        seen += len(message.get("body", b""))
        if seen > most:
            refused = _too_large(most)
            raise HTTPException(refused.status, refused.detail)  # the one kind that FastAPI lets through from here
        return message

    return counted


def _too_large(most: int) -> ApiError:
    return ApiError(413, "too_large", f"The body is longer than {most} bytes.")

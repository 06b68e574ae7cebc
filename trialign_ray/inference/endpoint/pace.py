"""When the next request may begin: a rate limit, and the pauses that the server asks for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

Wait = Callable[[float], Awaitable[None]]
"""Waits so many seconds, or less where asking has to stop."""


class Pace:
    """Lets requests begin one after the other, in the order in which they come."""

    def __init__(
        self, per_minute: int | None, wait: Wait = asyncio.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._wait, self._clock = wait, clock
        self._next = clock()
        self._turns = asyncio.Lock()

    async def turn(self, stopping: Callable[[], bool]) -> bool:
        """Wait for the next turn; whether it came before asking has to stop."""
        async with self._turns:
            # A pause may come while one waits, so the time is looked at again after each wait.
            while not stopping() and (left := self._next - self._clock()) > 0:
                await self._wait(left)
            self._next = max(self._next, self._clock()) + self._interval
            return not stopping()

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        self._next = max(self._next, self._clock() + seconds)

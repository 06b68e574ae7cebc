"""Blocking calls beside the event loop, each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_SECONDS = 60.0
"""Storage that takes longer hangs. Its thread cannot be ended, but whoever waits for it can go on."""


async def read(call: Callable[..., T], *given: object) -> T:
    """What `call` gives; raises TimeoutError."""
    return await asyncio.wait_for(asyncio.to_thread(call, *given), _SECONDS)

"""Blocking calls beside the event loop, each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_SECONDS = 60.0
"""Storage that takes longer hangs. Its thread cannot be ended, but whoever waits for it can go on."""
_STORAGE = ThreadPoolExecutor(32, "storage")
_HUNG: set[str] = set()
"""Places of which a call has not come back: another one would lose its thread too."""


async def call(action: Callable[..., T], *given: object, place: str | None = None) -> T:
    """What `action` gives. Raises TimeoutError, at once where an earlier call of the same `place` still hangs.

    A place is storage that is not the service's own disk, such as a run's folder.
    """
    if place in _HUNG:
        raise TimeoutError(f"{place} has not answered for a while")
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(_STORAGE if place else None, lambda: action(*given))
    done, _ = await asyncio.wait({future}, timeout=_SECONDS)
    if done:
        return future.result()
    if place:
        _HUNG.add(place)
        future.add_done_callback(lambda _: _HUNG.discard(place))
    raise TimeoutError(f"{place or 'the disk'} does not answer")

"""Blocking calls beside the event loop, each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_SECONDS = 60.0
"""Storage that takes longer hangs. Its thread cannot be ended, but the caller can go on."""
_STORAGE = ThreadPoolExecutor(32, "storage")
_HUNG: set[str] = set()
"""Storage of which a call has not come back: another call would lose its thread too."""


async def call(action: Callable[..., T], *given: object, storage: str | None = None) -> T:
    """The result of `action(*given)`, run on a thread.

    storage: path or URI of what is read or written, where that is not the service's own disk, such as a run folder.
    Raises TimeoutError after a minute, and at once where an earlier call for the same `storage` still hangs.
    """
    if storage in _HUNG:
        raise TimeoutError(f"{storage} has not answered for a while")
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(_STORAGE if storage else None, lambda: action(*given))
    done, _ = await asyncio.wait({future}, timeout=_SECONDS)
    if done:
        return future.result()
    if storage:
        _HUNG.add(storage)
        future.add_done_callback(lambda _: _HUNG.discard(storage))
    raise TimeoutError(f"{storage or 'the disk'} does not answer")

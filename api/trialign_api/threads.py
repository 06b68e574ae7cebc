"""Blocking calls beside the event loop, each with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
_SECONDS = 60.0
"""Storage that takes longer hangs. Its thread cannot be ended, but the caller can go on."""
_STORAGE = ThreadPoolExecutor(32, "storage")
_MOST_HUNG = 4
"""Threads that one mount or bucket may hold for good; fewer may be slow work, such as the deletion of a large run."""
_HUNG: dict[asyncio.Future[Any], tuple[frozenset[str], frozenset[str]]] = {}
"""Calls that have not come back: their places, and what these lie on. Another call would lose its thread too."""


class StorageHungError(TimeoutError):
    """Storage that has not answered for a while was not asked again."""


async def call(action: Callable[..., T], *given: object, storage: str | Sequence[str] | None = None) -> T:
    """The result of `action(*given)`, run on a thread.

    storage: absolute paths or URIs of what is read or written, where that is not the service's own disk, such as a run
    folder. Raises TimeoutError after a minute, and StorageHungError at once where earlier calls for the same `storage`,
    or several for the mounts and buckets that it lies on, still hang.
    """
    places = frozenset([storage] if isinstance(storage, str) else storage or ())
    around = frozenset(_around(places))
    if _hangs(places, around):
        raise StorageHungError(f"{', '.join(sorted(places))}: has not answered for a while")
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(_STORAGE if places else None, lambda: action(*given))
    done, _ = await asyncio.wait({future}, timeout=_SECONDS)
    if done:
        return future.result()
    if places:
        _HUNG[future] = places, around
        future.add_done_callback(lambda _: _HUNG.pop(future, None))
    raise TimeoutError(f"{', '.join(sorted(places)) or 'the disk'} does not answer")


def _hangs(places: frozenset[str], around: frozenset[str]) -> bool:
    """A call that hangs for some of these hangs for all of them. Which of its own it waits for is not known."""
    same = any(known <= places for known, _ in _HUNG.values())
    near = sum(known <= around for _, known in _HUNG.values() if known != {"/"})
    return same or near >= _MOST_HUNG


def _around(places: frozenset[str]) -> set[str]:
    """Mounts and buckets of the places. The system's table of mounts tells them, so that no storage is touched.

    A link may lead elsewhere; so what lies on the root itself, where everything may begin, is never shut as a whole.
    """
    if not places:
        return set()
    mounts = {one.mountpoint for one in psutil.disk_partitions(all=True)}
    found = set()
    for place in places:
        scheme, is_uri, rest = place.partition("://")
        if is_uri and scheme != "file":
            found.add(f"{scheme}://{rest.partition('/')[0]}")
        else:
            path = Path(rest if is_uri else place).absolute()
            found.add(max((mount for mount in mounts if path.is_relative_to(mount)), key=len, default="/"))
    return found

"""One process at a time works in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from trialign_ray.errors import LockedError
from trialign_ray.io.storage import Location

LOCK = "lock"
"""Name of the file in the folder that is locked."""


@contextmanager
def locked(folder: Location, work: str) -> Iterator[None]:
    """Lock `folder`, which is made, for the time of the block; on an object store, which has no locks, do nothing.

    The operating system releases the lock when the process ends, however it ends. Raises LockedError where another
    process holds it; `work` is what the two would do at once.
    """
    if folder.local is None:
        yield
        return
    folder.local.mkdir(parents=True, exist_ok=True)
    with (folder.local / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{folder.uri}: {work} is locked by another process; wait for it to finish.") from None
        yield

"""The service's own disk. The last of its room is kept for the database, so that a job can still be cancelled."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

SPARE_BYTES = 256 << 20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where there is no room."""


def require_room(folder: Path, wanted: int = 0) -> None:
    """Raise OSError (ENOSPC) where `wanted` bytes more would leave less than SPARE_BYTES on the disk of `folder`."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(there).free < SPARE_BYTES + wanted:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def taken(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def untouched(folder: Path, since: float) -> set[str]:
    """Names of the folders in `folder` in which nothing has been written since that moment, in seconds since 1970."""
    return {home.name for home in folder.glob("*/") if _written(home) < since}


def _written(home: Path) -> float:
    try:
        return max(path.lstat().st_mtime for path in (home, *home.rglob("*")))
    except FileNotFoundError:  # another process is at it
        return time.time()

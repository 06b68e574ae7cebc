"""Room on the service's own disk. The last of it is kept for the database, so that a job can still be cancelled."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

SPARE_BYTES = 256 << 20


def require_room(folder: Path, wanted: int = 0) -> None:
    """Raise OSError (ENOSPC) where `wanted` bytes more would leave less than SPARE_BYTES on the disk of `folder`."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(there).free < SPARE_BYTES + wanted:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

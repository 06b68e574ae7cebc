"""What the service's own machine has for jobs, where its Ray runs there."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from functools import cache

_LOG = logging.getLogger("trialign_api.machine")
_SECONDS = 60.0
_ASK = "import torch; print(torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else 0)"
"""What `trialign plan` goes by. The service imports no torch, and CUDA needs more address space than the confined
process has."""


async def gpu_bytes() -> int | None:
    """Memory of one GPU; None where there is none, or none that answers, which the log has."""
    try:
        return await asyncio.to_thread(_asked) or None
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _LOG.warning("the memory of this machine's GPU is not known: %s", error)
        return None


@cache
def _asked() -> int:
    """Bytes, 0 without a GPU; asked once, since it never changes."""
    command = [sys.executable, "-c", _ASK]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS).stdout)  # noqa: S603

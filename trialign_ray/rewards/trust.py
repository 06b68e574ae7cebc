"""Which modules may be imported because data names them.

Group sets and logs name reward functions by import path, and may come from others. A specification is the user's own
command and needs no such list.
"""

from __future__ import annotations

import os

from trialign_ray.errors import SpecError

TRUSTED_MODULES = "TRIALIGN_TRUSTED_MODULES"
"""Environment variable, comma-separated modules; it must be set in every process that scores, on all machines."""


def require_trusted(import_path: str) -> None:
    """Raise SpecError unless the module of 'package.module:name' is listed."""
    module = import_path.partition(":")[0]
    trusted = {name.strip() for name in os.environ.get(TRUSTED_MODULES, "").split(",")}
    if module not in trusted:
        raise SpecError(
            f"rule '{import_path}': data names code that is not trusted. If you know this module, set "
            f"{TRUSTED_MODULES}={module} where the run and its Ray workers start."
        )

"""What a Ray job runs: `python -m trialign_ray.entrypoints.ray_job`, its specification in TRIALIGN_SPEC.

TRIALIGN_RESUME=1 continues a training run. The exit status is that of the error, so that the service can tell a bad
specification from a lost worker; SIGTERM makes training write a checkpoint first and exit with 143.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from trialign_ray.config.base import explain
from trialign_ray.config.tasks import SPEC
from trialign_ray.errors import SpecError, TrialignError
from trialign_ray.io import console
from trialign_ray.progress import Progress

STOPPED = 143
"""Exit status of a run that was asked to stop and can be resumed: 128 and the number of SIGTERM."""


def main() -> int:
    """Run the specification of the environment and give the exit status."""
    try:
        spec = read_spec(os.environ.get("TRIALIGN_SPEC", ""))
        with console.progress() as progress:
            return _KINDS[spec.kind](spec, progress)
    except TrialignError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_status


def read_spec(text: str) -> Any:
    """Any kind of specification from its JSON; raises SpecError."""
    try:
        return SPEC.validate_python(json.loads(text))
    except ValueError as error:
        said = explain(error, "TRIALIGN_SPEC") if isinstance(error, ValidationError) else f"TRIALIGN_SPEC: {error}"
        raise SpecError(said) from None


def _train(spec: Any, progress: Progress) -> int:
    from trialign_ray.entrypoints.train import train

    outcome = train(spec, resume=os.environ.get("TRIALIGN_RESUME") == "1", progress=progress)
    return 0 if outcome.finished else STOPPED


def _audit(spec: Any, progress: Progress) -> int:
    from trialign_ray.config.game import load_groups
    from trialign_ray.entrypoints.audit import audit
    from trialign_ray.evaluation import check_gates, parse_gates

    gates = parse_gates(spec.fail_if, load_groups(spec.groups).names)
    check_gates(gates, audit(spec, progress).audit)
    return 0


def _collect(spec: Any, progress: Progress) -> int:
    from trialign_ray.entrypoints.collect import collect

    collect(spec, progress)
    return 0


_KINDS: dict[str, Callable[[Any, Progress], int]] = {"train": _train, "audit": _audit, "collect": _collect}

if __name__ == "__main__":
    sys.exit(main())

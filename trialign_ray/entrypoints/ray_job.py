"""What a Ray job runs: `python -m trialign_ray.entrypoints.ray_job`, its specification in TRIALIGN_SPEC.

TRIALIGN_RESUME=1 continues a training run. The exit status is that of the error, so that the service can tell a bad
specification from a lost worker; SIGTERM makes training write a checkpoint first and exit with 143.
"""

from __future__ import annotations

import json
import os
import sys
from typing import get_args

from pydantic import ValidationError

from trialign_ray.config.base import JobSpec, explain
from trialign_ray.config.kinds import JOB_KINDS, SPEC, JobKind, JobRun
from trialign_ray.config.seams import load_object
from trialign_ray.errors import SpecError, TrialignError
from trialign_ray.io import console


def main() -> int:
    """Run the specification of the environment and give the exit status."""
    try:
        spec, kind = read_spec(os.environ.get("TRIALIGN_SPEC", ""))
        run: JobRun[JobSpec] = load_object(kind.run)
        with console.progress() as progress:
            return run(spec, progress)
    except TrialignError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_status


def read_spec(text: str) -> tuple[JobSpec, JobKind]:
    """A specification from its JSON, and its kind; raises SpecError.

    A `kind` "package.module:name" is the import path of a `JobKind` of the user's own.
    """
    try:
        data = json.loads(text)
        named = data.get("kind") if isinstance(data, dict) else None
        if not (isinstance(named, str) and ":" in named):
            spec = SPEC.validate_python(data)
            return spec, JOB_KINDS[spec.kind]
        kind = load_object(named)
        if not isinstance(kind, JobKind):
            raise SpecError(f"TRIALIGN_SPEC: field 'kind': '{named}' is a {type(kind).__name__}; name a JobKind.")
        return kind.spec.model_validate(data | _own_value(kind.spec)), kind
    except ValidationError as error:
        raise SpecError(explain(error, "TRIALIGN_SPEC")) from None
    except ValueError as error:
        raise SpecError(f"TRIALIGN_SPEC: {error}") from None


def _own_value(spec: type[JobSpec]) -> dict[str, str]:
    """`kind` as the specification itself calls it, where it takes one value alone: there the path is refused."""
    values = get_args(spec.model_fields["kind"].annotation)
    return {"kind": values[0]} if len(values) == 1 else {}


if __name__ == "__main__":
    sys.exit(main())

"""The kinds of job that the service runs: those of the library's table, each with the check that makes its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from trialign_api.schemas import Plan
from trialign_api.services import plan
from trialign_ray.config.kinds import JOB_KINDS, JobKind

EXTERNAL = "external"
"""Kind of jobs that were submitted by `ray job submit`: the service knows no specification of them."""
MODULE = "trialign_ray.entrypoints.ray_job"


@dataclass(frozen=True, slots=True)
class ServedKind(JobKind):
    """A kind of job and what the service needs besides."""

    module: str = MODULE
    """`python -m <module>` runs the specification in TRIALIGN_SPEC. Callers never name it."""
    check: Callable[[Any], Plan] = plan.nothing
    """Opens what the specification names and says what the job will do; blocking; raises TrialignError."""


def _served(name: str, kind: JobKind) -> ServedKind:
    given = {field.name: getattr(kind, field.name) for field in fields(kind)}
    return ServedKind(**given, check=plan.CHECKS.get(name, plan.nothing))


KINDS: Mapping[str, ServedKind] = {name: _served(name, kind) for name, kind in JOB_KINDS.items()}

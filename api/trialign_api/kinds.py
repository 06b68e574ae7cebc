"""Every kind of job in one table. To the service a new kind is one entry: its specification and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trialign_api.schemas import Plan
from trialign_api.services import plan
from trialign_ray.config.base import Strict
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import TrainSpec

EXTERNAL = "external"
"""Of jobs that came by `ray job submit`: they have no specification that the service knows."""
MODULE = "trialign_ray.entrypoints.ray_job"


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind. Places are named by dotted fields of the specification."""

    spec: type[Strict]
    module: str
    """`python -m <module>` runs the specification in TRIALIGN_SPEC. Callers never name it."""
    reads: tuple[str, ...] = ()
    """Fields with places that the job reads."""
    writes: tuple[str, ...] = ()
    """Fields with places that the job writes."""
    runs: bool = False
    """Whether the job has a run folder, `<runs>/<name>`."""
    cpus: float = 0.0
    """What the process of the job itself asks for, where that is what works; a learner group asks on its own."""
    check: Callable[[Any], Plan] = plan.nothing
    """Opens what the specification names and says what the job will do; blocking; raises TrialignError."""


KINDS: Mapping[str, JobKind] = {
    "train": JobKind(
        TrainSpec,
        MODULE,
        reads=("model", "logs", "evaluation.questions", "evaluation.groups"),
        writes=("runs",),
        runs=True,
        check=plan.train,
    ),
    "audit": JobKind(
        AuditSpec,
        MODULE,
        reads=("model", "adapter", "answers", "questions", "groups"),
        writes=("runs",),
        runs=True,
        cpus=1.0,
        check=plan.audit,
    ),
    "collect": JobKind(
        CollectSpec,
        MODULE,
        reads=("model", "questions", "groups"),
        writes=("output",),
        cpus=1.0,
        check=plan.collect,
    ),
}

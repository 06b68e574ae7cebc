"""Every kind of job in one table: what it is given, what runs it and what it reads and writes.

A new kind is one module, with its specification and its run, and one entry here. Users of the library and of the Ray
Jobs API name a kind of their own by the import path of its `JobKind`; the service runs the kinds of the table alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field, TypeAdapter

from trialign_ray.config.base import JobSpec
from trialign_ray.config.tasks import AuditSpec, CollectSpec
from trialign_ray.config.train import TrainSpec
from trialign_ray.progress import Progress

Spec_contra = TypeVar("Spec_contra", bound=JobSpec, contravariant=True)


class JobRun(Protocol[Spec_contra]):
    """Runs a job of one kind to its end."""

    def __call__(self, spec: Spec_contra, progress: Progress, /) -> int:
        """The exit status of the job's process, 0 for success; raises TrialignError, whose `exit_status` counts."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind. `reads` and `writes` are dotted fields of the specification that hold a path or URI."""

    spec: type[JobSpec]
    run: str
    """Import path of its `JobRun`, so that a specification is checked without torch and Ray."""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    run_folder: bool = False
    """Whether the job has a run folder, `<runs>/<name>`."""
    resumable: bool = False
    """Whether the job writes a checkpoint when it is stopped, and TRIALIGN_RESUME=1 makes it go on from there."""
    cpus: float = 0.0
    """CPUs that the job's own process asks Ray for; 0 where the workers that it starts ask instead."""


JOB_KINDS: Mapping[str, JobKind] = {
    "train": JobKind(
        TrainSpec,
        "trialign_ray.entrypoints.train:run_job",
        reads=("model", "logs", "evaluation.questions", "evaluation.groups"),
        writes=("runs",),
        run_folder=True,
        resumable=True,
    ),
    "audit": JobKind(
        AuditSpec,
        "trialign_ray.entrypoints.audit:run_job",
        reads=("model", "adapter", "answers", "against", "questions", "groups"),
        writes=("runs", "endpoint.cache"),
        run_folder=True,
        cpus=1.0,
    ),
    "collect": JobKind(
        CollectSpec,
        "trialign_ray.entrypoints.collect:run_job",
        reads=("model", "adapter", "unasked_in", "questions", "groups"),
        writes=("output", "endpoint.cache"),
        cpus=1.0,
    ),
}

_ANY_KIND: Any = Annotated[reduce(or_, (kind.spec for kind in JOB_KINDS.values())), Field(discriminator="kind")]
SPEC: TypeAdapter[JobSpec] = TypeAdapter(_ANY_KIND)
"""Validates the specification of any kind in the table."""


def json_schema() -> dict[str, Any]:
    """JSON Schema of every kind of job."""
    return SPEC.json_schema()

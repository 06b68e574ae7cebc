"""What goes over the wire. The client imports it, so nothing here needs the packages of the extra `server`."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from trialign_api import text
from trialign_api.states import Status
from trialign_ray.config.kinds import JOB_KINDS

if TYPE_CHECKING:
    from trialign_api.store import models

Item = TypeVar("Item", bound=BaseModel)
LabelKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")]
LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._/@+-]{1,200}$")]

_MOST_FAULTS = 20
_NO_OTHER_KEYS: dict[str, JsonValue] = {"additionalProperties": False}


def whole(given: object) -> object:
    """To JSON Schema 2.0 is an integer, and neither "2" nor true is."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


class Out(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class InvalidField(BaseModel):
    """One wrong field."""

    pointer: str = Field(description="JSON pointer into the request, such as /body/spec/name")
    code: str
    detail: str


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str = Field(description="urn:trialign:problem:<code>")
    title: str
    status: int
    detail: str
    code: str = Field(description="stable, for programs")
    errors: list[InvalidField] = []


class Body(BaseModel):
    """Base of every JSON body of a request: no text that cannot be stored reaches what lies behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        """Raises BrokenTextError."""
        if found := list(islice(text.faults(given), _MOST_FAULTS)):
            raise text.BrokenTextError(found)
        return given


class JobCreate(Body):
    """A job to submit."""

    spec: dict[str, Any]
    """A job specification; `kind` says which."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16, json_schema_extra=_NO_OTHER_KEYS)] = {}
    retries: Annotated[int, Field(ge=0, le=20, strict=True), BeforeValidator(whole)] | None = None
    """Automatic retries after a failure that a retry may cure; the service's default without it."""
    priority: Annotated[int, Field(ge=-100, le=100, strict=True), BeforeValidator(whole)] = 0
    """Higher ones of the same owner start first. Owners take turns whatever their jobs' priorities."""
    max_seconds: Annotated[int, Field(ge=1, le=31_536_000, strict=True), BeforeValidator(whole)] | None = None
    """How long one attempt may run, at most what the service allows, before it is stopped after a checkpoint."""


class JobError(Out):
    """Why a job failed."""

    code: str
    """out_of_memory, worker_died, bad_data, bad_spec, cluster_lost and others."""
    message: str
    log_tail: list[str]
    """The last lines of its log."""


class JobOut(Out):
    """One job."""

    object: Literal["job"] = "job"
    id: str
    kind: str
    name: str
    owner: str
    status: Status
    spec: dict[str, Any]
    labels: dict[str, str]
    run: str | None
    """The run folder."""
    retry_of: str | None
    attempt: int
    """1 for the first; automatic retries and resumes count up."""
    priority: int
    max_seconds: int | None
    """How long one attempt may run; the service's limit without it."""
    retries: int
    """How many automatic retries it may use."""
    retries_used: int
    paused: bool
    """Stopped to be resumed, or about to be."""
    resumable: bool
    """Whether jobs of this kind write checkpoints, so that a resume goes on where it stopped."""
    submission_id: str | None
    """What Ray calls the current attempt."""
    progress: dict[str, Any] | None
    """The newest metrics, in short."""
    error: JobError | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, job: models.Job) -> Self:
        """What callers see of a row."""
        kind = JOB_KINDS.get(job.kind)
        same = {name: getattr(job, name) for name in _SAME}
        return cls(**same, resumable=kind is not None and kind.resumable, error=_error_of(job))


_SAME = tuple(name for name in JobOut.model_fields if name not in ("object", "error", "resumable"))


def _error_of(job: models.Job) -> JobError | None:
    if job.error_code is None:
        return None
    return JobError(code=job.error_code, message=job.error_message or "", log_tail=job.log_tail or [])


class EventOut(Out):
    """Something that happened to a job."""

    seq: int
    """Counts from 1 within the job."""
    at: datetime
    type: str
    message: str
    data: dict[str, Any]

    @classmethod
    def of(cls, event: models.Event) -> Self:
        """What callers see of a row."""
        return cls(seq=event.seq, at=event.at, type=event.type, message=event.message, data=dict(event.data))


class Page(Out, Generic[Item]):
    """A part of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    next_cursor: str | None
    """Give it as `after` to get the next page."""


class MemoryEstimate(Out):
    """Bytes of one learner worker, by the model's configuration: the figures of `trialign plan` for a step whose
    prompts and responses are all as long as the longest of the logs. Where the step or the memory is not known, a pass
    holds `learner.tokens_per_pass`, or else one response: the least that a worker can do with.
    """

    process: int
    """Python and its libraries, or a CUDA context."""
    weights: int
    optimizer: int
    """Gradient of what is trained, and a part of its float32 copies and optimizer states."""
    activations: int
    """Of the largest pass: an upper bound, by the longest prompt and response."""
    total: int
    """Of the four above."""
    offloaded: int
    """Optimizer states in the memory of the worker's machine instead of its GPU's."""
    object_store: int | None
    """In the shared memory of each machine, for two steps: an upper bound, by the longest prompt and response. Null
    where `candidates.answers` adds responses of other lengths, and for a step that is too large to be planned here."""
    tokens_per_step: int | None
    """Packed tokens of all workers: an upper bound as `object_store`; null as that, and as `passes`."""
    passes: int | None
    """Of each worker in a step: an upper bound as `object_store`. Null as that, and where they follow from a memory
    that is not known."""
    tokens_per_pass: int | None
    """Of the largest pass, padding included; null where `passes` is."""
    available: int | None
    """What a worker may take where the service's own machine runs the jobs: its share of the memory that was free
    within the last minute, or all of one GPU. Null where a cluster runs them, and for a GPU that it has not."""
    fits: bool | None
    """Whether `total` is within `available`; null where that is. Lengths are upper bounds, so what is told not to fit
    may yet do so."""
    advice: list[str] | None
    """What to change where it does not fit; empty where it does, null where that is not known."""


class Plan(Out):
    """What a job will do."""

    kind: str
    data: dict[str, Any] = {}
    """What the inputs hold: rows, questions, groups."""
    derived: dict[str, Any] = {}
    """Numbers that follow from specification and data, such as steps."""
    needs: dict[str, float] = {}
    """What it reserves on the cluster, by Ray's name: CPU, GPU. It starts when all of that is free."""
    memory: MemoryEstimate | None = None
    warnings: list[str] = []


class Validated(Out):
    """The outcome of a dry run."""

    object: Literal["validation"] = "validation"
    effective: dict[str, Any]
    """The specification as the job would get it."""
    plan: Plan


class MetricsPage(Out):
    """Training metrics, one object an optimizer step."""

    object: Literal["metrics"] = "metrics"
    data: list[dict[str, Any]]
    next: int
    """Give it as `after` to get only what is newer."""


class GroupSeries(Out):
    """One group over the steps; lists are as long as `steps`, null where a step lacks the figure."""

    name: str
    utility: list[float | None]
    weight: list[float | None]
    accuracy: list[float | None]
    mass_right: list[float | None]


class Groups(Out):
    """Every group over the steps."""

    object: Literal["groups"] = "groups"
    steps: list[int]
    groups: list[GroupSeries]


class Checkpoint(Out):
    """One checkpoint of a run."""

    name: str
    modified_at: datetime | None
    bytes: int


class Artifact(Out):
    """One file of a run that can be downloaded."""

    name: str
    bytes: int


class ListOf(Out, Generic[Item]):
    """A whole list."""

    object: Literal["list"] = "list"
    data: list[Item]


class DatasetOut(Out):
    """An uploaded log dataset."""

    object: Literal["dataset"] = "dataset"
    id: str
    path: str
    """How a specification names it: datasets/<id>."""
    name: str
    owner: str
    bytes: int
    sha256: str
    """Of the uploaded file."""
    report: dict[str, Any]
    """rows_in, rows_imported, rows_rejected, problems, warnings, groups."""
    created_at: datetime

    @classmethod
    def of(cls, row: models.DatasetRow) -> Self:
        """What callers see of a row."""
        return cls(
            id=row.id,
            path=f"datasets/{row.id}",
            name=row.name,
            owner=row.owner,
            bytes=row.size,
            sha256=row.sha256,
            report=row.report,
            created_at=row.created_at,
        )


class Deleted(Out):
    """What is gone."""

    object: Literal["deleted"] = "deleted"
    id: str


class ClusterOut(Out):
    """What the cluster says of itself."""

    object: Literal["cluster"] = "cluster"
    reachable: bool
    ray_version: str | None
    nodes: int | None
    resources: dict[str, float]
    """All of it, by Ray's name: CPU, GPU, memory."""
    reserved: dict[str, float] = {}
    """Of these, what the service's jobs on Ray reserve; what else runs there is not counted."""
    dashboard: str | None
    """Ray's dashboard, null where browsers do not reach it."""
    jobs: dict[str, int]
    """Jobs of the service by status."""


class Health(Out):
    """A probe's answer."""

    status: Literal["ok", "degraded", "unavailable"]
    """`degraded`: the service answers, and Ray does not, so that jobs wait."""
    checks: dict[str, str] = {}


class AuditOut(Out):
    """Who changed what."""

    at: datetime
    owner: str
    key_id: str
    action: str
    target: str
    remote: str

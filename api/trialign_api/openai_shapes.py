"""What goes over the wire of the routes in OpenAI's shape: times in whole seconds, ids with OpenAI's prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, Field

from trialign_api.schemas import Out

_PREFIXES = ("/v1/files", "/v1/uploads", "/v1/fine_tuning")


class Identified(Out):
    """Something with an id, which is the cursor of its list too."""

    id: str


Item = TypeVar("Item", bound=Identified)


class CursorPage(Out, Generic[Item]):
    """A part of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None
    last_id: str | None
    """Give it as `after` to get the next page."""

    @classmethod
    def of(cls, found: Sequence[Item], limit: int) -> Self:
        """The first `limit` of `found`, of which one more shows that there is more."""
        page = list(found[:limit])
        first, last = (page[0].id, page[-1].id) if page else (None, None)
        return cls(data=page, has_more=len(found) > limit, first_id=first, last_id=last)


class FileOut(Identified):
    """One file."""

    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: str | None
    """What its check set aside, in a sentence."""
    sha256: str | None
    """Of the bytes that were uploaded; None of a file that is made when it is downloaded."""


class UploadPartOut(Identified):
    """One part of a file that arrives in parts."""

    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str
    bytes: int
    sha256: str


class UploadOut(Identified):
    """A file that arrives in parts."""

    object: Literal["upload"] = "upload"
    bytes: int
    """Announced."""
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileOut | None
    """What it became."""
    parts: list[UploadPartOut]
    """Those that are here, in the order of their arrival: a client that broke off goes on behind them."""


class FileDeletedOut(Identified):
    """What is gone."""

    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class HyperparametersOut(Out):
    """What was asked for; `auto` is the service's default."""

    n_epochs: float | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]
    beta: float | Literal["auto"] | None = None
    """Of `dpo` alone."""


class FineTuningErrorOut(Out):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class FineTuningJobOut(Identified):
    """A training job as OpenAI describes one."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None = None
    model: str
    fine_tuned_model: str | None
    """Name of the adapter, whose files are the first of `result_files`."""
    organization_id: str
    """The owner."""
    status: Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
    training_file: str
    """Id of an uploaded file, or the path of logs that lie in the workspace."""
    validation_file: None = None
    hyperparameters: HyperparametersOut
    method: dict[str, Any]
    seed: int
    trained_tokens: int | None = None
    error: FineTuningErrorOut | None
    result_files: list[str]
    """The adapter (tar), the metrics (JSON lines) and the report, where there are such; download them as files."""
    metadata: dict[str, str]
    integrations: list[str] = []


class FineTuningEventOut(Identified):
    """Something that happened to a job."""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message"] = "message"
    data: dict[str, Any]


class CheckpointMetricsOut(Out):
    """Of the checkpoint's step."""

    step: int
    train_loss: float | None


class FineTuningCheckpointOut(Identified):
    """A checkpoint that a resume can start from."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetricsOut


def seconds(moment: datetime) -> int:
    """Since 1970."""
    return int(moment.timestamp())


class OpenAiError(BaseModel):
    """What went wrong."""

    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None = Field(description="The field that is wrong, such as hyperparameters.n_epochs.")
    code: str = Field(description="stable, for programs")


class OpenAiRefusal(BaseModel):
    """A refusal on a route of OpenAI's shape."""

    error: OpenAiError


def speaks(path: str) -> bool:
    """Whether the route of that path has OpenAI's shape."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in _PREFIXES)

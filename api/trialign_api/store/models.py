"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from trialign_api.text import storable


class Instant(TypeDecorator[datetime]):
    """A moment as microseconds since 1970 UTC: orders and compares alike on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else round(value.timestamp() * 1e6)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else datetime.fromtimestamp(value / 1e6, UTC)


class Line(TypeDecorator[str]):
    """A short text. What no database holds is taken out of it, in values to compare with too."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else storable(value)


class Prose(Line):
    """A text of any length, as `Line`."""

    impl = Text
    cache_ok = True


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


LOGS = "fine-tune"
"""Purpose of an upload that is a log dataset."""


class Base(DeclarativeBase):
    """Base of every table."""


class Job(Base):
    """One job. `version` rises with every change: who read an older one does not overwrite a newer."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_owner", "owner", "id"),
        Index("jobs_by_status", "status", "id"),
        Index("jobs_by_time", "created_at"),
        UniqueConstraint("submission_id", name="jobs_submission"),
    )

    id: Mapped[str] = mapped_column(Line(40), primary_key=True)
    kind: Mapped[str] = mapped_column(Line(40))
    name: Mapped[str] = mapped_column(Line(200))
    owner: Mapped[str] = mapped_column(Line(80))
    status: Mapped[str] = mapped_column(Line(20))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    """As the caller gave it."""
    effective: Mapped[dict[str, Any]] = mapped_column(JSON)
    """As the job gets it: paths resolved, the run folder its own."""
    labels: Mapped[dict[str, str]] = mapped_column(JSON)
    run: Mapped[str | None] = mapped_column(Prose)
    """The run folder."""
    retry_of: Mapped[str | None] = mapped_column(Line(40))
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    resume: Mapped[bool] = mapped_column(Boolean, default=False)
    retries: Mapped[int] = mapped_column(Integer)
    retries_used: Mapped[int] = mapped_column(Integer, default=0)
    submission_id: Mapped[str | None] = mapped_column(Line(200))
    """Ray's name of the current attempt, from the moment that Ray may hear of it."""
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error_code: Mapped[str | None] = mapped_column(Line(60))
    error_message: Mapped[str | None] = mapped_column(Prose)
    log_tail: Mapped[list[str] | None] = mapped_column(JSON)
    checks: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Checks of its inputs that were begun since it was submitted or resumed."""
    needs: Mapped[dict[str, float] | None] = mapped_column(JSON)
    """What it reserves on the cluster, by Ray's name; None until its inputs are checked."""
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Higher ones of the same owner start first."""
    max_seconds: Mapped[int | None] = mapped_column(Integer)
    """How long one attempt may run, where its owner said less than the service allows."""
    paused: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Stopped to be resumed; a cancelled job otherwise."""
    due_at: Mapped[datetime | None] = mapped_column(Instant)
    """Before which it is not tried again."""
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)
    """Since when it is shown to nobody; its events stay, as the audit does."""
    missing_since: Mapped[datetime | None] = mapped_column(Instant)
    """Since when Ray has not known it."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    events: Mapped[int] = mapped_column(Integer, default=0)
    """How many events it has: the number of the last one."""
    version: Mapped[int] = mapped_column(Integer, default=1)


class JobLabel(Base):
    """One label of one job, to filter by."""

    __tablename__ = "job_labels"
    __table_args__ = (Index("labels_by_value", "key", "value", "job_id"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(Line(60), primary_key=True)
    value: Mapped[str] = mapped_column(Line(200))


class Event(Base):
    """Something that happened to a job. Never changed, never deleted: the database refuses it."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    type: Mapped[str] = mapped_column(Line(60))
    message: Mapped[str] = mapped_column(Prose)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class ApiKey(Base):
    """A key, as a hash."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Line(20), primary_key=True)
    sha256: Mapped[str] = mapped_column(Line(64))
    owner: Mapped[str] = mapped_column(Line(80))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class IdempotencyRow(Base):
    """What a request with an Idempotency-Key was answered."""

    __tablename__ = "idempotency"

    owner: Mapped[str] = mapped_column(Line(80), primary_key=True)
    route: Mapped[str] = mapped_column(Line(200), primary_key=True)
    key: Mapped[str] = mapped_column(Line(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Line(64))
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Instant)


class DatasetRow(Base):
    """An upload that was checked: a log dataset, or another input of jobs."""

    __tablename__ = "datasets"
    __table_args__ = (Index("datasets_by_owner", "owner", "id"),)

    id: Mapped[str] = mapped_column(Line(40), primary_key=True)
    owner: Mapped[str] = mapped_column(Line(80))
    name: Mapped[str] = mapped_column(Line(120))
    purpose: Mapped[str] = mapped_column(Line(40), default=LOGS, server_default=LOGS)
    """What it is for."""
    path: Mapped[str] = mapped_column(Prose)
    """What a specification that names it gets."""
    sha256: Mapped[str] = mapped_column(Line(64))
    """Of the uploaded bytes."""
    size: Mapped[int] = mapped_column(BigInteger)
    """Of these."""
    held: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Bytes on disk, which the owner's quota counts: what its check made of the upload, and what is kept of this."""
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it is deleted, where its owner said so."""


class UploadRow(Base):
    """A file that arrives in parts."""

    __tablename__ = "uploads"
    __table_args__ = (Index("uploads_by_owner", "owner", "status"),)

    id: Mapped[str] = mapped_column(Line(40), primary_key=True)
    owner: Mapped[str] = mapped_column(Line(80))
    name: Mapped[str] = mapped_column(Line(120))
    purpose: Mapped[str] = mapped_column(Line(40))
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes that were announced; the owner's quota holds them until it is completed or over."""
    status: Mapped[str] = mapped_column(Line(20))
    """pending, completed, cancelled, expired."""
    file_id: Mapped[str | None] = mapped_column(Line(40))
    """The upload that it became."""
    created_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    file_expires_at: Mapped[datetime | None] = mapped_column(Instant)


class PartRow(Base):
    """One part of a file, on the service's disk."""

    __tablename__ = "upload_parts"
    __table_args__ = (Index("parts_by_upload", "upload_id", "id"),)

    id: Mapped[str] = mapped_column(Line(40), primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Line(64))
    created_at: Mapped[datetime] = mapped_column(Instant)


class LeaseRow(Base):
    """Who may do a piece of background work, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(Line(60), primary_key=True)
    holder: Mapped[str] = mapped_column(Line(120))
    until: Mapped[datetime] = mapped_column(Instant)


class AuditRecord(Base):
    """Who changed what. Never changed, never deleted."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    owner: Mapped[str] = mapped_column(Line(80))
    key_id: Mapped[str] = mapped_column(Line(20))
    action: Mapped[str] = mapped_column(Line(60))
    target: Mapped[str] = mapped_column(Line(200))
    remote: Mapped[str] = mapped_column(Line(80))

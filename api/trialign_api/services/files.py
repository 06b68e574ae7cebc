"""Files as OpenAI's clients see them: uploads for each purpose, and what a job's run has to download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import ids, threads
from trialign_api.auth import Principal
from trialign_api.openai_shapes import CursorPage, FileDeletedOut, FileOut, seconds
from trialign_api.problems import ApiError
from trialign_api.schemas import InvalidField
from trialign_api.services import archive, unpack
from trialign_api.services.datasets import PLACE, Datasets, Upload
from trialign_api.services.idempotency import Action
from trialign_api.store import records
from trialign_api.store.models import LOGS, DatasetRow

Purpose = Literal["fine-tune", "questions", "groups", "model", "adapter"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_NAME_CHARACTERS = 120
_CONTENT = "content"
"""The uploaded bytes of a log dataset, beside it."""
_ENDINGS: Mapping[Purpose, tuple[str, ...]] = {
    "fine-tune": ("jsonl", "jsonl.gz", "parquet"),
    "questions": ("yaml", "yml", "json"),
    "groups": ("yaml", "yml", "json"),
    "model": ("tar",),
    "adapter": ("tar",),
}
"""Of a file for each purpose; one without an ending is taken for the first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file is to become."""

    purpose: Purpose
    name: str
    lifetime: timedelta | None = None
    """After which it is deleted."""

    def __post_init__(self) -> None:
        """Raises ApiError."""
        if not 0 < len(self.name) <= _NAME_CHARACTERS:
            raise refused("file", f"has a name of {len(self.name)} characters; give one of 1 to {_NAME_CHARACTERS}")
        self.ending  # noqa: B018 refuses another one

    @property
    def ending(self) -> str:
        """Of the name, without its dot; raises ApiError where files for the purpose have none such."""
        known = _ENDINGS[self.purpose]
        if "." not in self.name:
            return known[0]
        longest_first = sorted(known, key=len, reverse=True)
        found = next((one for one in longest_first if self.name.lower().endswith(f".{one}")), None)
        if found is None:
            raise refused("file", f"ends with none of .{', .'.join(known)}, as files for '{self.purpose}' do")
        return found


@dataclass(frozen=True, slots=True)
class Content:
    """What a file's download gives."""

    name: str
    size: int
    chunks: Iterator[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Files:
    """Uploads, whatever they are for, over the store of datasets."""

    datasets: Datasets

    async def check(self, upload: Upload, wanted: Wanted) -> DatasetRow:
        """Open the upload, confined, and put what it holds in its place; the row to store. As `Datasets.confine`."""
        file = upload.file.with_name(f"upload.{wanted.ending}")
        named = replace(upload, file=await threads.call(upload.file.rename, file))
        if wanted.purpose == LOGS:
            return await self.datasets.check(
                named, unpack.RowPaths({}, ()), strict=False, kept=file.with_name(_CONTENT)
            )
        row, work = DatasetRow(name=wanted.name, purpose=wanted.purpose), unpack.WORK[wanted.purpose]
        given: dict[str, Any] = {"file": file, "target": file.with_name(PLACE), "ending": wanted.ending}
        return await self.datasets.confine(named, row, work, **given)

    async def add(
        self, session: AsyncSession, who: Principal, upload: Upload, row: DatasetRow, wanted: Wanted
    ) -> FileOut:
        """Store what `check` has found."""
        await self.datasets.store_row(session, who, upload, row)
        row.expires_at = None if wanted.lifetime is None else row.created_at + wanted.lifetime
        return file_out(row)

    async def list(
        self, who: Principal, purpose: str | None, after: str | None, limit: int, *, oldest_first: bool
    ) -> CursorPage[FileOut]:
        """A page of uploads. What is downloaded of jobs is not among them: their jobs name it."""
        cursor = None if after is None else ids.renamed(after, "ds")
        async with self.datasets.store.reads() as session:
            rows = await records.datasets_of(
                session, who.sees, purpose=purpose, after=cursor, limit=limit + 1, oldest_first=oldest_first
            )
        return CursorPage[FileOut].of([file_out(row) for row in rows], limit)

    async def get(self, who: Principal, file_id: str) -> FileOut:
        """One upload; raises ApiError 404."""
        return file_out(await self.datasets.row(who, ids.renamed(file_id, "ds")))

    async def content(self, who: Principal, file_id: str) -> Content:
        """Its bytes, of a folder as an archive; raises ApiError 404, also where the bytes were not kept."""
        row = await self.datasets.row(who, ids.renamed(file_id, "ds"))
        place = Path(row.path)
        if row.purpose == LOGS:
            place = place.with_name(_CONTENT)
        found = await threads.call(archive.of, str(place))
        if found is None:
            raise ApiError(404, "not_found", f"{file_id}: its bytes were not kept. Uploads to /v1/files are.")
        return Content(row.name, found.size, found.chunks)

    async def delete(self, who: Principal, file_id: str) -> Action:
        """What deletes an upload that no job reads any more; raises ApiError 404 and 409."""
        delete = await self.datasets.delete(who, ids.renamed(file_id, "ds"))

        async def deleted(session: AsyncSession) -> FileDeletedOut:
            await delete(session)
            return FileDeletedOut(id=file_id)

        return deleted


def refused(param: str, reason: str) -> ApiError:
    """The answer to a request with a wrong field."""
    fault = InvalidField(pointer=f"/body/{param}", code="bad_request", detail=reason)
    return ApiError(422, "bad_request", f"field '{param}' {reason}.", [fault])


def file_out(row: DatasetRow) -> FileOut:
    """An upload in OpenAI's shape."""
    return FileOut(
        id=ids.renamed(row.id, "file"),
        bytes=row.size,
        created_at=seconds(row.created_at),
        expires_at=None if row.expires_at is None else seconds(row.expires_at),
        filename=row.name,
        purpose=row.purpose,
        status_details=_details(row.report),
        sha256=row.sha256,
    )


def _details(report: Mapping[str, Any]) -> str | None:
    """What was set aside of logs."""
    if not report.get("rows_rejected"):
        return None
    first = next(iter(report.get("problems") or ()), None)
    told = f": row {first['row']}: field '{first['field']}' {first['reason']}" if first else ""
    return f"{report['rows_rejected']} of {report['rows_in']} rows were set aside{told}"

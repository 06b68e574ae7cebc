"""Files that arrive in parts, so that a connection that breaks costs one part and not the file.

<data>/uploads/<upload>/<part>   until the upload is completed, cancelled or expired
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import ids, threads
from trialign_api.auth import Principal
from trialign_api.disk import require_room, untouched
from trialign_api.openai_shapes import UploadOut, UploadPartOut, seconds
from trialign_api.problems import ApiError
from trialign_api.schemas import Body
from trialign_api.services.datasets import ABANDONED_SECONDS, Incoming, Upload
from trialign_api.services.files import Files, Purpose, Wanted, file_out, refused
from trialign_api.services.idempotency import Action
from trialign_api.store import records
from trialign_api.store.models import DatasetRow, PartRow, UploadRow, now

PART_BYTES = 64 << 20
"""Longest part, as OpenAI has it."""
_MOST_PARTS = 10_000
_CHUNK = 1 << 20
_AT_ONCE = 1000
_LOG = logging.getLogger("trialign_api.uploads")
_Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ExpiresAfter(Body):
    """When a file is deleted."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class UploadCreate(Body):
    """A file that will come in parts."""

    bytes: Annotated[int, Field(ge=1, le=1 << 50)]
    """Of the whole file."""
    filename: Annotated[str, Field(min_length=1, max_length=120)]
    mime_type: Annotated[str, Field(max_length=200)]
    """Not read: the purpose says what the file is."""
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class UploadComplete(Body):
    """The parts in their order, and what they should be together."""

    part_ids: Annotated[list[Annotated[str, Field(pattern=ids.PART_ID)]], Field(min_length=1, max_length=_MOST_PARTS)]
    md5: _Md5 | None = None
    sha256: _Sha256 | None = None


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads in parts, under `folder`; a completed one is a file like any other."""

    files: Files
    folder: Path
    lifetime: timedelta
    most_bytes: int
    """Of one file."""

    async def create(self, who: Principal, body: UploadCreate) -> Action:
        """What announces a file; raises ApiError, also where the owner's quota does not hold it."""
        wanted = Wanted(body.purpose, body.filename)
        if body.bytes > self.most_bytes:
            raise refused("bytes", f"is more than the {self.most_bytes} that one file may have")
        moment, after = now(), body.expires_after
        row = UploadRow(
            id=ids.new_upload_id(),
            owner=who.owner,
            name=wanted.name,
            purpose=wanted.purpose,
            size=body.bytes,
            status="pending",
            created_at=moment,
            expires_at=moment + self.lifetime,
            file_expires_at=moment + timedelta(seconds=after.seconds) if after else None,
        )

        async def store(session: AsyncSession) -> UploadOut:
            await self.files.datasets.within_quota(session, who.owner, body.bytes)
            session.add(row)
            await session.flush()
            return _out(row, (), None)

        return store

    async def get(self, who: Principal, upload_id: str) -> UploadOut:
        """One upload and what has arrived of it; raises ApiError 404."""
        async with self.files.datasets.store.reads() as session:
            return await self._described(session, await self._row(session, who, upload_id))

    @asynccontextmanager
    async def part(self, upload_id: str) -> AsyncIterator[PartRow]:
        """A part on its way in; its bytes are deleted unless it is stored in the end."""
        part = PartRow(id=ids.new_part_id(), upload_id=upload_id, created_at=now(), size=0)
        try:
            yield part
        finally:
            await self._settle(part)

    async def _settle(self, part: PartRow) -> None:
        """As a whole file: of a COMMIT that broke off the answer alone may be lost."""
        file = self.folder / part.upload_id / part.id
        try:
            if not await threads.call(file.exists):
                return
            async with self.files.datasets.store.writes() as session:
                await session.get(UploadRow, part.upload_id, with_for_update=True)  # it waits for such a COMMIT
                stored = await session.get(PartRow, part.id) is not None
        except Exception:  # the part goes with its upload
            _LOG.exception("%s of %s: whether it is stored cannot be told; it stays", part.id, part.upload_id)
        else:
            if not stored:
                await threads.call(lambda: file.unlink(missing_ok=True))

    async def receive(self, who: Principal, part: PartRow, body: AsyncIterator[bytes]) -> None:
        """Write a part to disk; raises ApiError and, where the disk is nearly full, OSError.

        What other parts leave of the file is not looked at: a part that is sent again has its bytes here already.
        """
        async with self.files.datasets.store.reads() as session:
            row = _pending(await self._row(session, who, part.upload_id))
        file, digest, most = self.folder / row.id / part.id, hashlib.sha256(), min(PART_BYTES, row.size)
        await threads.call(lambda: file.parent.mkdir(parents=True, exist_ok=True))
        with await asyncio.to_thread(file.open, "xb") as stream:
            async for chunk in body:
                digest.update(chunk)
                part.size += len(chunk)
                if part.size > most:
                    raise refused("data", f"is longer than the {most} bytes that a part of this file may have")
                await threads.call(require_room, self.folder, len(chunk))
                await threads.call(stream.write, chunk)
        if not part.size:
            raise refused("data", "is empty; send at least one byte")
        part.sha256 = digest.hexdigest()

    async def add(self, session: AsyncSession, who: Principal, part: PartRow) -> UploadPartOut:
        """Store a part that has arrived; raises ApiError where it is one too many."""
        row = _pending(await self._row(session, who, part.upload_id, lock=True))
        count, size = await records.parts_size(session, row.id)
        if count >= _MOST_PARTS:
            raise refused("data", f"is one more than the {_MOST_PARTS} parts that a file may have; send longer ones")
        if size + part.size > row.size:
            raise refused("data", f"is more than may still come: {row.size - size} bytes of {row.size} announced")
        session.add(part)
        await session.flush()
        return _part_out(part)

    async def assemble(
        self, who: Principal, upload_id: str, body: UploadComplete, arriving: Incoming
    ) -> tuple[Upload, Wanted]:
        """Join the parts into a file; raises ApiError where they are not the file that was announced."""
        async with self.files.datasets.store.reads() as session:
            row = _pending(await self._row(session, who, upload_id))
            known = {part.id: part for part in await records.parts_of(session, upload_id)}
        if unknown := next((one for one in body.part_ids if one not in known), None):
            raise refused("part_ids", f"names '{unknown}', which is no part of this upload")
        if len(set(body.part_ids)) != len(body.part_ids):
            raise refused("part_ids", "names a part twice")
        if (size := sum(known[one].size for one in body.part_ids)) != row.size:
            raise refused("part_ids", f"names parts of {size} bytes together; {row.size} were announced")
        md5 = hashlib.md5(usedforsecurity=False)
        whole = await arriving.receive(row.name, self._joined(upload_id, body.part_ids, md5.update))
        if body.md5 not in (None, md5.hexdigest()) or body.sha256 not in (None, whole.sha256):
            field = "md5" if body.md5 not in (None, md5.hexdigest()) else "sha256"
            raise refused(field, "is not that of the parts together; send again what was damaged")
        lifetime = row.file_expires_at - row.created_at if row.file_expires_at else None
        return whole, Wanted(_purpose(row.purpose), row.name, lifetime)

    async def closing(self, who: Principal, upload_id: str, upload: Upload, wanted: Wanted) -> Action:
        """What stores the file that was joined, once its check has let it pass; raises ApiError."""
        row = await self.files.check(upload, wanted)

        async def store(session: AsyncSession) -> UploadOut:
            await self.files.add(session, who, upload, row, wanted)
            return await self.close(session, who, upload_id, row)

        return store

    async def close(self, session: AsyncSession, who: Principal, upload_id: str, file: DatasetRow | None) -> UploadOut:
        """Mark a pending upload completed as `file`, or without one cancelled; its parts are not stored any more."""
        row = _pending(await self._row(session, who, upload_id, lock=True))
        row.status, row.file_id = ("completed", file.id) if file else ("cancelled", None)
        await records.forget_parts(session, upload_id)
        return _out(row, (), file)

    async def discard(self, upload_id: str) -> None:
        """Delete the parts' bytes."""
        await threads.call(lambda: shutil.rmtree(self.folder / upload_id, ignore_errors=True))

    async def expire(self) -> Sequence[str]:
        """End the pending uploads whose time is over; their ids. What killed processes left of others goes too."""
        async with self.files.datasets.store.writes() as session:
            over = await records.expire_uploads(session, now(), _AT_ONCE)
        old = await threads.call(untouched, self.folder, time.time() - ABANDONED_SECONDS)
        async with self.files.datasets.store.reads() as session:
            pending = set(await session.scalars(select(UploadRow.id).where(UploadRow.status == "pending")))
        for upload_id in (*over, *sorted(old - pending)):
            await self.discard(upload_id)
        return over

    async def _joined(
        self, upload_id: str, part_ids: Sequence[str], seen: Callable[[bytes], None]
    ) -> AsyncIterator[bytes]:
        for part_id in part_ids:
            with await asyncio.to_thread((self.folder / upload_id / part_id).open, "rb") as stream:
                while chunk := await threads.call(stream.read, _CHUNK):
                    seen(chunk)
                    yield chunk

    async def _row(self, session: AsyncSession, who: Principal, upload_id: str, *, lock: bool = False) -> UploadRow:
        row = await session.get(UploadRow, upload_id, with_for_update=lock or None)
        if row is None or who.sees not in (None, row.owner):
            raise ApiError.not_found("upload")
        return row

    async def _described(self, session: AsyncSession, row: UploadRow) -> UploadOut:
        file = None if row.file_id is None else await session.get(DatasetRow, row.file_id)
        return _out(row, await records.parts_of(session, row.id), file)


def _pending(row: UploadRow) -> UploadRow:
    """Raises ApiError 409 of an upload that is over."""
    if (status := _status(row)) != "pending":
        raise ApiError(409, "wrong_status", f"The upload is {status}. Create a new one.")
    return row


def _status(row: UploadRow) -> Any:
    """An upload is over from its last moment on, whenever its parts are deleted."""
    return "expired" if row.status == "pending" and row.expires_at < now() else row.status


def _purpose(stored: str) -> Purpose:
    return stored  # type: ignore[return-value]  # it was one when it was stored


def _out(row: UploadRow, parts: Sequence[PartRow], file: DatasetRow | None) -> UploadOut:
    return UploadOut(
        id=row.id,
        bytes=row.size,
        created_at=seconds(row.created_at),
        expires_at=seconds(row.expires_at),
        filename=row.name,
        purpose=row.purpose,
        status=_status(row),
        file=None if file is None else file_out(file),
        parts=[_part_out(part) for part in parts],
    )


def _part_out(part: PartRow) -> UploadPartOut:
    return UploadPartOut(
        id=part.id,
        created_at=seconds(part.created_at),
        upload_id=part.upload_id,
        bytes=part.size,
        sha256=part.sha256,
    )

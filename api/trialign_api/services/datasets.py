"""Uploads: stream the file to disk, import it through the library's checks, keep what is good, say what is not."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from trialign_api import threads
from trialign_api.auth import Principal
from trialign_api.confined import Confined
from trialign_api.disk import require_room, taken, untouched
from trialign_api.ids import new_dataset_id
from trialign_api.problems import ApiError, escape
from trialign_api.schemas import DatasetOut, Deleted, InvalidField, Page
from trialign_api.services import archive, unpack
from trialign_api.services.idempotency import Action
from trialign_api.services.unpack import RowPaths
from trialign_api.states import ENDED, Status
from trialign_api.store import jobs, records
from trialign_api.store.engine import Store
from trialign_api.store.models import LOGS, DatasetRow, now
from trialign_ray.data.manifest import MANIFEST
from trialign_ray.errors import RowError, TrialignError

Format = Literal["jsonl", "jsonl.gz", "parquet"]
PLACE = "place"
"""Folder of an upload that is no log dataset."""
_LOG = logging.getLogger("trialign_api.datasets")
ABANDONED_SECONDS = 24 * 3600
"""Longer than any upload pauses: another process may be writing what is younger."""
_REJECT_BYTES = 64 << 20
"""Most that is kept of the rows that an import sets aside."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived, not yet looked at."""

    dataset_id: str
    name: str
    """As its owner calls it."""
    file: Path
    sha256: str
    size: int
    announced_as: str | None = None
    """The upload in parts that it was, whose bytes the quota holds already."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A place for a file on its way in."""

    datasets: Datasets
    who: Principal
    announced_as: str | None = None
    """The upload in parts that it was."""
    dataset_id: str = field(default_factory=new_dataset_id)

    async def receive(self, name: str, body: AsyncIterator[bytes], ending: str = "bin") -> Upload:
        """Write the body to disk as it arrives.

        Raises ApiError 409 where the owner's quota ends, OSError where the disk is nearly full.
        """
        left = await self.datasets.left(self.who.owner, besides=self.announced_as)
        file, digest, size = self.datasets.folder / self.dataset_id / f"upload.{ending}", hashlib.sha256(), 0
        with await threads.call(_create, file) as stream:
            async for chunk in body:
                digest.update(chunk)
                size += len(chunk)
                if size > left:
                    raise _quota(self.datasets.owner_bytes)
                await threads.call(require_room, self.datasets.folder, len(chunk))
                await threads.call(stream.write, chunk)
            await threads.call(_sync, stream)
        return Upload(self.dataset_id, name, file, digest.hexdigest(), size, self.announced_as)


@dataclass(frozen=True, slots=True)
class Datasets:
    """Uploaded log datasets, under the absolute `folder`."""

    store: Store
    folder: Path
    confined: Confined
    """Where uploads are opened."""
    owner_bytes: int
    """Most bytes of one owner's uploads."""

    @asynccontextmanager
    async def incoming(self, who: Principal, announced_as: str | None = None) -> AsyncIterator[Incoming]:
        """A place for one file, which is emptied unless the file is stored in the end."""
        arriving = Incoming(self, who, announced_as)
        try:
            yield arriving
        finally:
            await self._settle(arriving)

    async def _settle(self, arriving: Incoming) -> None:
        """Of a COMMIT that broke off the answer alone may be lost, so the database says whether the file is stored."""
        home = self.folder / arriving.dataset_id
        try:
            if not await threads.call(home.exists):
                return
            async with self.store.writes() as session:
                await records.alone(session, arriving.who.owner)  # it waits for such a COMMIT
                stored = await session.get(DatasetRow, arriving.dataset_id) is not None
        except Exception:  # better files without a row than a row without its files
            _LOG.exception("%s: whether it is stored cannot be told; its files stay", arriving.dataset_id)
        else:
            if not stored:
                await self.discard(arriving.dataset_id)

    async def check(self, upload: Upload, reading: RowPaths, *, strict: bool, kept: Path | None = None) -> DatasetRow:
        """Import the upload next to itself; the row to store. What was uploaded then lies at `kept`, if anywhere.

        Raises as `confine`.
        """
        row, target = DatasetRow(name=upload.name, purpose=LOGS), self.logs(upload.dataset_id)
        given: dict[str, Any] = {"file": upload.file, "target": target, "reading": reading, "strict": strict}
        given |= {"kept": kept, "reject_bytes": _REJECT_BYTES, "shown_as": upload.name}
        return await self.confine(upload, row, unpack.logs, **given)

    async def confine(
        self, upload: Upload, row: DatasetRow, work: Callable[..., dict[str, Any]], **given: Any
    ) -> DatasetRow:
        """`row` with what `work` makes of the upload in a process of limited means.

        Raises ApiError, and OSError where the disk is nearly full: what is made may be as long as the upload.
        """
        room = partial(require_room, self.folder)
        try:
            await threads.call(room, upload.size)
            found = await self.confined.run(work, room, **given)
        except TrialignError as error:
            status = ApiError.of(error).status
            raise ApiError(status, error.code, _public(str(error), upload), _row_faults(error)) from None
        row.path, row.report = found["path"], found["report"]
        row.held = await threads.call(taken, self.folder / upload.dataset_id)
        return row

    async def add(self, session: AsyncSession, who: Principal, upload: Upload, row: DatasetRow) -> DatasetOut:
        """Store what `check` has imported."""
        return DatasetOut.of(await self.store_row(session, who, upload, row))

    async def store_row(self, session: AsyncSession, who: Principal, upload: Upload, row: DatasetRow) -> DatasetRow:
        """Store what was uploaded and checked as `row`; raises ApiError 409 where it takes more than there is left."""
        await self.within_quota(session, who.owner, row.held, besides=upload.announced_as)
        row.id, row.owner, row.created_at = upload.dataset_id, who.owner, now()
        row.sha256, row.size = upload.sha256, upload.size
        session.add(row)
        await session.flush()
        return row

    async def within_quota(self, session: AsyncSession, owner: str, size: int, *, besides: str | None = None) -> None:
        """Raises ApiError 409 where so much more is too much; `besides` is an upload in parts that it replaces."""
        await records.alone(session, owner)
        if await records.stored_bytes(session, owner, besides=besides) + size > self.owner_bytes:
            raise _quota(self.owner_bytes)

    async def left(self, owner: str, *, besides: str | None = None) -> int:
        """How many bytes more the owner may have."""
        async with self.store.reads() as session:
            return self.owner_bytes - await records.stored_bytes(session, owner, besides=besides)

    async def list(self, who: Principal, after: str | None, limit: int) -> Page[DatasetOut]:
        """A page, the newest first."""
        async with self.store.reads() as session:
            found = list(await records.datasets_of(session, who.sees, purpose=LOGS, after=after, limit=limit + 1))
        page, more = found[:limit], len(found) > limit
        cursor = page[-1].id if more else None
        return Page[DatasetOut](data=[DatasetOut.of(row) for row in page], has_more=more, next_cursor=cursor)

    async def get(self, who: Principal, dataset_id: str) -> DatasetOut:
        """One dataset; raises ApiError 404."""
        row = await self.row(who, dataset_id)
        if row.purpose != LOGS:
            raise ApiError.not_found("dataset")
        return DatasetOut.of(row)

    async def rejects(self, who: Principal, dataset_id: str) -> archive.ByteSource:
        """The rows that its import set aside; raises ApiError 404 where there are none."""
        await self.get(who, dataset_id)
        found = await threads.call(archive.of, f"{self.logs(dataset_id)}.rejects.jsonl")
        if found is None:
            raise ApiError(404, "not_found", f"{dataset_id}: no row of it was set aside.")
        return found

    async def row(self, who: Principal, dataset_id: str) -> DatasetRow:
        """One upload, whatever it is for; raises ApiError 404."""
        async with self.store.reads() as session:
            row = await session.get(DatasetRow, dataset_id)
        if row is None or who.sees not in (None, row.owner):
            raise ApiError.not_found("upload")
        return row

    async def delete(self, who: Principal, dataset_id: str) -> Action:
        """What deletes an upload, whose files are gone by then: a deletion that breaks off is simply repeated.

        Raises ApiError 404, and 409 while a job that is not over reads it.
        """
        path = (await self.row(who, dataset_id)).path
        async with self.store.reads() as session:
            users = [job.id for job in await jobs.in_status(session, set(Status) - ENDED) if path in str(job.effective)]
        if users:
            raise ApiError(409, "in_use", f"{', '.join(users[:5])}: reads the upload. Cancel it, or wait for its end.")
        await self.discard(dataset_id)

        async def delete(session: AsyncSession) -> Deleted:
            await session.execute(sql_delete(DatasetRow).where(DatasetRow.id == dataset_id))
            return Deleted(id=dataset_id)

        return delete

    async def sweep(self) -> None:
        """Delete what killed processes left of their uploads.

        A whole dataset without a row stays: the row may be in the database that the operator meant to name.
        """
        try:
            old = await threads.call(_abandoned, self.folder, time.time() - ABANDONED_SECONDS)
            async with self.store.reads() as session:
                known = set(await session.scalars(select(DatasetRow.id)))
            for dataset_id in sorted(old - known):
                _LOG.warning("%s: nothing came of this upload; it is deleted", dataset_id)
                await self.discard(dataset_id)
        except Exception:  # the service can do without
            _LOG.exception("broken uploads cannot be deleted")

    def logs(self, dataset_id: str) -> Path:
        """The log dataset's folder."""
        return self.folder / dataset_id / "logs"

    async def discard(self, dataset_id: str) -> None:
        """Delete what an upload left."""
        await threads.call(lambda: shutil.rmtree(self.folder / dataset_id, ignore_errors=True))


def _quota(most: int) -> ApiError:
    detail = f"The uploads of one owner may take {most >> 20} MB. Delete some: `trialign datasets delete`."
    return ApiError(409, "quota_exceeded", detail)


def _create(file: Path) -> BinaryIO:
    file.parent.mkdir(parents=True)
    return file.open("xb")


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _abandoned(folder: Path, since: float) -> set[str]:
    """Names of uploads that are no datasets yet and in which nothing has been written since that moment."""
    return {name for name in untouched(folder, since) if name.startswith("ds-") and not _whole(folder / name)}


def _whole(home: Path) -> bool:
    return ((home / "logs" / MANIFEST).exists() or (home / PLACE).exists()) and not any(home.glob("upload.*"))


def _public(text: str, upload: Upload) -> str:
    """Without the server's own paths."""
    return text.replace(str(upload.file), "upload").replace(str(upload.file.parent), "upload")


def _row_faults(error: TrialignError) -> list[InvalidField]:
    if not isinstance(error, RowError):
        return []
    return [
        InvalidField(pointer=f"/body/{problem.row}/{escape(problem.field)}", code="bad_row", detail=problem.reason)
        for problem in error.problems[:20]
    ]

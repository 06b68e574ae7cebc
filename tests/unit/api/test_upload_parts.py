"""Uploads in parts: what is sent twice, what is too much, and what is left of those that are over."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_datasets import lines, upload
from tests.unit.api.test_retention import DAY, aged
from tests.unit.data.samples import row
from trialign_api.store.engine import Store, is_sqlite
from trialign_api.store.models import PartRow, UploadRow

pytestmark = pytest.mark.anyio
DATA = lines(row(), row(group="nurse_kenya"))


async def announced(control: Plane, auth: dict[str, str], size: int = len(DATA)) -> str:
    about = {"bytes": size, "filename": "logs.jsonl", "mime_type": "", "purpose": "fine-tune"}
    answer = await control.client.post("/v1/uploads", json=about, headers=auth)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def part(control: Plane, auth: dict[str, str], upload_id: str, data: bytes, **headers: str) -> Any:
    path = f"/v1/uploads/{upload_id}/parts"
    return await control.client.post(path, files={"data": ("data", data)}, headers=auth | headers)


def kept(control: Plane, upload_id: str) -> list[str]:
    """Names of the parts' files."""
    return sorted(path.name for path in (control.settings.data / "uploads" / upload_id).glob("*"))


async def test_a_part_whose_answer_was_lost_is_sent_again_and_answered_alike(control: Plane) -> None:
    """The last one too, though nothing may still come."""
    ada = await control.key("ada", "submit")
    made = await announced(control, ada)
    for number, data in enumerate((DATA[:100], DATA[100:])):
        once = {"Idempotency-Key": str(number)}
        first, again = [await part(control, ada, made, data, **once) for _ in range(2)]
        assert (again.status_code, again.json()) == (200, first.json()), again.text
    seen = (await control.client.get(f"/v1/uploads/{made}", headers=ada)).json()
    assert kept(control, made) == sorted(one["id"] for one in seen["parts"])
    assert sum(one["bytes"] for one in seen["parts"]) == len(DATA)


async def test_an_upload_has_a_most_of_parts_and_none_is_empty(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialign_api.services.uploads._MOST_PARTS", 2)
    ada = await control.key("ada", "submit")
    made = await announced(control, ada, size=10)
    for data, status in ((b"", 400), (b"1", 200), (b"2", 200), (b"3", 400)):
        answer = await part(control, ada, made, data)
        assert answer.status_code == status, (data, answer.text)
        assert status == 200 or answer.json()["error"]["param"] == "data"
    assert len(kept(control, made)) == 2


async def test_an_upload_past_its_time_is_over_and_out_of_the_quota_at_once(tmp_path: Path) -> None:
    async with plane(tmp_path, owner_bytes=10) as control:
        ada = await control.key("ada", "submit")
        late = await announced(control, ada, size=10)
        await aged(control, UploadRow, late, expires_at=DAY)
        assert (await control.client.get(f"/v1/uploads/{late}", headers=ada)).json()["status"] == "expired"
        await announced(control, ada, size=10)


async def test_what_a_killed_process_left_of_parts_is_deleted_after_a_day(control: Plane) -> None:
    ada, folder = await control.key("ada", "submit"), control.settings.data / "uploads"
    pending, cancelled = [await announced(control, ada) for _ in range(2)]
    for one in (pending, cancelled):
        await part(control, ada, one, DATA)
    await control.client.post(f"/v1/uploads/{cancelled}/cancel", headers=ada)
    strange = "upload-" + "1" * 28
    for one in (cancelled, strange):
        (folder / one).mkdir()
        (folder / one / "part").touch()
    uploads = control.app.state.services.uploads
    await uploads.expire()
    assert {home.name for home in folder.iterdir()} == {pending, cancelled, strange}
    old = time.time() - 25 * 3600
    for path in (*folder.rglob("*"), *folder.iterdir()):
        os.utime(path, (old, old))
    await uploads.expire()
    assert [home.name for home in folder.iterdir()] == [pending]


async def test_an_upload_that_is_completed_at_its_last_moment_does_not_expire(tmp_path: Path, database: str) -> None:
    async with plane(tmp_path, database=database) as control:
        made = await announced(control, await control.key("ada", "submit"))
        await aged(control, UploadRow, made, expires_at=DAY)
        async with control.store.writes() as session:
            completing = await session.get(UploadRow, made, with_for_update=True)
            completing.status = "completed"
            await session.flush()
            expiring = asyncio.create_task(control.app.state.services.uploads.expire())
            await waits_for_another(control.store)
        assert await expiring == []
        async with control.store.reads() as session:
            assert await session.scalar(select(UploadRow.status)) == "completed"


async def waits_for_another(store: Store) -> None:
    """Until a transaction waits for what another one has locked; SQLite lets none begin to write meanwhile."""
    async with asyncio.timeout(60):
        while not is_sqlite(store.url):
            async with store.reads() as session:
                if await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                    return
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)


def break_next_commit(monkeypatch: pytest.MonkeyPatch, *, done: bool) -> None:
    """The next transaction is told that its COMMIT broke off, and was done or was not."""
    real, broken = Store.writes, OperationalError("COMMIT", {}, Exception("the connection broke"))

    @asynccontextmanager
    async def writes(store: Store) -> AsyncIterator[AsyncSession]:
        monkeypatch.setattr(Store, "writes", real)
        async with real(store) as session:
            yield session
            if not done:
                raise broken
        raise broken

    monkeypatch.setattr(Store, "writes", writes)


@pytest.mark.parametrize("done", [True, False])
async def test_a_commit_whose_answer_is_lost_costs_no_file(
    control: Plane, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    ada = await control.key("ada", "submit")
    break_next_commit(monkeypatch, done=done)
    assert (await upload(control, ada, DATA)).status_code == 503
    break_next_commit(monkeypatch, done=done)
    form: dict[str, Any] = {"data": {"purpose": "fine-tune"}, "files": {"file": ("a.jsonl", DATA)}}
    assert (await control.client.post("/v1/files", headers=ada, **form)).status_code == 503
    stored = (await control.client.get("/v1/datasets", headers=ada)).json()["data"]
    assert len(stored) == (2 if done else 0)
    homes = [home.name for home in (control.settings.data / "datasets").iterdir()]
    assert sorted(homes) == sorted(one["id"] for one in stored)


@pytest.mark.parametrize("done", [True, False])
async def test_a_commit_whose_answer_is_lost_costs_no_part(
    control: Plane, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    ada = await control.key("ada", "submit")
    made = await announced(control, ada)
    break_next_commit(monkeypatch, done=done)
    assert (await part(control, ada, made, DATA)).status_code == 503
    async with control.store.reads() as session:
        stored = list(await session.scalars(select(PartRow.id)))
    assert len(stored) == done
    assert kept(control, made) == stored

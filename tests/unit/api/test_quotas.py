"""What uploads take on the service's disk: quotas by what lies there, whoever asks at once, and room for the rest."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_datasets import lines, upload
from tests.unit.api.test_uploads import ADAPTER, tar
from tests.unit.data.samples import row
from trialign_api import disk
from trialign_api.confined import Confined

pytestmark = pytest.mark.anyio
_ABOUT = {"bytes": 50, "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"}


async def send(control: Plane, auth: dict[str, str], name: str, data: bytes, purpose: str) -> Any:
    files = {"file": (name, data)}
    return await control.client.post("/v1/files", data={"purpose": purpose}, files=files, headers=auth)


async def test_those_who_ask_at_once_do_not_pass_a_quota_together(tmp_path: Path, database: str) -> None:
    async with plane(tmp_path, database=database, owner_jobs=3, owner_bytes=100) as control:
        ada, client = await control.key("ada", "submit"), control.client
        job = {"spec": {"kind": "tiny", "name": "x"}}
        jobs = await asyncio.gather(*(client.post("/v1/jobs", json=job, headers=ada) for _ in range(12)))
        assert Counter(answer.status_code for answer in jobs) == {201: 3, 409: 9}
        uploads = await asyncio.gather(*(client.post("/v1/uploads", json=_ABOUT, headers=ada) for _ in range(12)))
        assert Counter(answer.is_success for answer in uploads) == {True: 2, False: 10}


async def test_the_quota_counts_what_lies_on_the_disk(tmp_path: Path) -> None:
    """A few packed bytes may become many."""
    packed = gzip.compress(lines(row(), row(turn=0, response="x" * 1_000_000)))
    async with plane(tmp_path, owner_bytes=500_000) as control:
        ada = await control.key("ada", "submit")
        assert len(packed) < 10_000
        refused = await upload(control, ada, packed, format="jsonl.gz")
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
        assert list((control.settings.data / "datasets").iterdir()) == []
        assert (await upload(control, ada, lines(row()))).status_code == 201


async def test_of_rejected_rows_so_many_bytes_are_kept(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialign_api.services.datasets._REJECT_BYTES", 5000)
    ada = await control.key("ada", "submit")
    good, bad = [row(sample=n) for n in range(20)], [row(turn=0, sample=n) for n in range(20)]
    answer = await upload(control, ada, lines(*good, *bad))
    assert answer.status_code == 201, answer.text
    report, path = answer.json()["report"], f"/v1/datasets/{answer.json()['id']}/rejects"
    kept = (await control.client.get(path, headers=ada)).content
    assert (report["rows_imported"], report["rows_rejected"]) == (20, 20)
    assert 0 < len(kept) <= 5000
    left_out = 20 - len(kept.splitlines())
    assert any(warning.startswith(f"{left_out} of 20 bad rows") for warning in report["warnings"])


async def test_a_disk_that_fills_up_during_a_check_is_507_and_leaves_nothing(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await control.key("ada", "submit")

    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Confined, "run", full)
    for answer in (
        await upload(control, ada, lines(row())),
        await send(control, ada, "adapter.tar", tar(ADAPTER), "adapter"),
    ):
        assert answer.status_code == 507, answer.text
    assert list((control.settings.data / "datasets").iterdir()) == []


async def test_a_check_begins_where_there_is_room_for_what_it_makes(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive is unpacked beside itself."""
    ada, data = await control.key("ada", "submit"), tar(ADAPTER)
    folder = control.settings.data / "datasets"
    begun: list[object] = []
    room = [1.5 * len(data)]

    def usage(_: object) -> Any:
        return SimpleNamespace(free=disk.SPARE_BYTES + room[0] - disk.taken(folder))

    real = Confined.run

    async def run(self: Confined, *given: Any, **named: Any) -> Any:
        begun.append(given)
        return await real(self, *given, **named)

    monkeypatch.setattr("trialign_api.disk.shutil.disk_usage", usage)
    monkeypatch.setattr(Confined, "run", run)
    assert (await send(control, ada, "adapter.tar", data, "adapter")).status_code == 507
    assert begun == []
    room[0] = 2.5 * len(data)
    assert (await send(control, ada, "adapter.tar", data, "adapter")).status_code == 200

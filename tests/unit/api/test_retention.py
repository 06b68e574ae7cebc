"""What is kept, for how long, and who comes first."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_datasets import lines, upload
from tests.unit.api.test_history import metrics_row
from tests.unit.api.test_openai import sdk
from tests.unit.data.samples import row
from trialign_api.backend import RayStatus
from trialign_api.services import runs
from trialign_api.services.metrics import sample, spread
from trialign_api.store.models import DatasetRow, Job, UploadRow, now
from trialign_api.threads import StorageHungError

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)


async def aged(control: Plane, table: Any, identity: str, **moments: timedelta) -> None:
    """As if the row's moments were so long ago."""
    values = {name: now() - ago for name, ago in moments.items()}
    async with control.store.writes() as session:
        await session.execute(update(table).where(table.id == identity).values(values))


async def over(control: Plane, auth: dict[str, str], **body: Any) -> Any:
    """A job that has succeeded and has a run folder."""
    job = await control.running(auth, **body)
    Path(job["run"]).mkdir(parents=True)
    control.backend.set(job["submission_id"], RayStatus.SUCCEEDED)
    await control.tick()
    return job


async def retire(control: Plane) -> None:
    reconciler = control.app.state.reconciler
    await reconciler._retention.enforce()


async def test_runs_that_are_over_are_deleted_after_their_time_and_no_others(tmp_path: Path) -> None:
    async with plane(tmp_path, keep_runs_days=30) as control:
        ada = await control.key("ada", "submit")
        old, new, running = await over(control, ada), await over(control, ada), await control.running(ada)
        await aged(control, Job, old["id"], ended_at=31 * DAY)
        await aged(control, Job, new["id"], ended_at=29 * DAY)
        await aged(control, Job, running["id"], created_at=99 * DAY, started_at=99 * DAY)
        await retire(control)
        left = (await control.client.get("/v1/jobs", headers=ada)).json()["data"]
        assert {job["id"] for job in left} == {new["id"], running["id"]}
        assert (Path(old["run"]).parent.exists(), Path(new["run"]).exists()) == (False, True)
        admin = await control.key("root", "admin")
        told = (await control.client.get("/v1/audit", headers=admin)).json()["data"]
        assert ("service", "retention", old["id"]) in [(one["owner"], one["action"], one["target"]) for one in told]


async def test_uploads_are_deleted_after_their_time_unless_a_job_reads_them(tmp_path: Path) -> None:
    async with plane(tmp_path, keep_uploads_days=7) as control:
        ada = await control.key("ada", "submit")
        old, new, used = [(await upload(control, ada, lines(row(sample=n)))).json() for n in range(3)]
        await control.submit(ada, spec={"input": used["path"]})
        for one, days in ((old, 8), (new, 6), (used, 8)):
            await aged(control, DatasetRow, one["id"], created_at=days * DAY)
        await retire(control)
        left = (await control.client.get("/v1/datasets", headers=ada)).json()["data"]
        assert {one["id"] for one in left} == {new["id"], used["id"]}
        assert not (control.settings.data / "datasets" / old["id"]).exists()


async def test_nothing_is_deleted_by_default_but_what_its_owner_lets_expire(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    kept = (await upload(control, ada, lines(row()))).json()
    job = await over(control, ada)
    await aged(control, DatasetRow, kept["id"], created_at=999 * DAY)
    await aged(control, Job, job["id"], ended_at=999 * DAY)
    async with sdk(control, ada) as client:
        short = await client.files.create(
            file=("x.jsonl", lines(row())), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert short.expires_at == pytest.approx(short.created_at + 3600, abs=2)
        await aged(control, DatasetRow, short.id.replace("file", "ds"), expires_at=DAY)
        await retire(control)
        assert [file.id async for file in client.files.list()] == [kept["id"].replace("ds", "file")]
    assert (await control.job(ada, job["id"]))["status"] == "succeeded"


async def test_parts_of_an_upload_that_is_not_completed_in_time_are_deleted(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        given: Any = {"bytes": 10, "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"}
        late, timely = [await client.uploads.create(**given) for _ in range(2)]
        for one in (late, timely):
            await client.uploads.parts.create(one.id, data=b"12345")
        await aged(control, UploadRow, late.id, expires_at=DAY)
        await retire(control)
        found = [(await control.client.get(f"/v1/uploads/{one.id}", headers=ada)).json() for one in (late, timely)]
        assert [(one["status"], len(one["parts"])) for one in found] == [("expired", 0), ("pending", 1)]
        assert [home.name for home in (control.settings.data / "uploads").iterdir()] == [timely.id]


async def test_what_has_to_stay_keeps_nothing_waiting_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of it than a page holds, and storage that was found dead before."""
    monkeypatch.setattr("trialign_api.reconcile.retention._PAGE", 2)
    async with plane(tmp_path, keep_uploads_days=7, keep_runs_days=7) as control:
        ada = await control.key("ada", "submit")
        jobs = [await over(control, ada) for _ in range(4)]
        uploads = [(await upload(control, ada, lines(row(sample=n)))).json() for n in range(4)]
        for used in uploads[:3]:
            await control.submit(ada, spec={"input": used["path"]})
        for one, job in zip(uploads, jobs, strict=True):
            await aged(control, DatasetRow, one["id"], created_at=9 * DAY)
            await aged(control, Job, job["id"], ended_at=9 * DAY)
        dead = {str(Path(job["run"]).parent) for job in jobs[:3]}
        real = runs.discard

        def discard(folder: str, job_id: str) -> None:
            if folder in dead:
                raise StorageHungError(folder)
            real(folder, job_id)

        monkeypatch.setattr(runs, "discard", discard)
        await retire(control)
        left = (await control.client.get("/v1/datasets", headers=ada)).json()["data"]
        assert {one["id"] for one in left} == {one["id"] for one in uploads[:3]}
        left = (await control.client.get("/v1/jobs?status=succeeded", headers=ada)).json()["data"]
        assert {one["id"] for one in left} == {one["id"] for one in jobs[:3]}


async def test_a_round_ends_at_the_first_storage_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try costs a minute and a thread."""
    asked: list[str] = []

    def discard(folder: str, job_id: str) -> None:
        asked.append(job_id)
        raise TimeoutError(folder)

    monkeypatch.setattr(runs, "discard", discard)
    async with plane(tmp_path, keep_runs_days=7) as control:
        ada = await control.key("ada", "submit")
        jobs = [await over(control, ada) for _ in range(2)]
        for job in jobs:
            await aged(control, Job, job["id"], ended_at=9 * DAY)
        await retire(control)
        assert asked == [jobs[0]["id"]]


async def test_no_round_begins_beside_one_that_goes_on(control: Plane) -> None:
    reconciler, end = control.app.state.reconciler, asyncio.Event()
    begun: list[int] = []

    async def enforce() -> None:
        begun.append(1)
        await end.wait()

    reconciler._retention = SimpleNamespace(enforce=enforce)

    async def hour() -> int:
        reconciler._forgot = -float("inf")
        await reconciler._forget_old()
        await asyncio.sleep(0)
        return len(begun)

    assert [await hour(), await hour()] == [1, 1]
    end.set()
    await reconciler.settle()
    assert await hour() == 2
    await reconciler.settle()


async def test_the_first_round_deletes_what_is_due(tmp_path: Path, sqlite: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(sqlite, tmp_path / "data" / "control.db")
    async with plane(tmp_path, keep_uploads_days=1) as control:
        ada = await control.key("ada", "submit")
        one = (await upload(control, ada, lines(row()))).json()
        await aged(control, DatasetRow, one["id"], created_at=2 * DAY)
        await control.tick()
        assert (await control.client.get("/v1/datasets", headers=ada)).json()["data"] == []


async def test_higher_priorities_of_an_owner_start_first(tmp_path: Path) -> None:
    async with plane(tmp_path, active_jobs=1) as control:
        ada = await control.key("ada", "submit")
        low, old, new, high = [await control.submit(ada, priority=value) for value in (-1, 0, 0, 9)]
        await control.tick()
        for _ in range(4):
            await control.tick()
            control.backend.set(control.backend.submissions[-1].submission_id, RayStatus.SUCCEEDED)
            await control.tick()
        started = [one.submission_id.removesuffix("-a1") for one in control.backend.submissions]
        assert started == [job["id"] for job in (high, old, new, low)]


async def test_an_attempt_is_stopped_after_the_time_that_its_owner_gave_it(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    brief, patient = await control.running(ada, max_seconds=60), await control.running(ada, max_seconds=3600)
    for job in (brief, patient):
        control.backend.set(job["submission_id"], RayStatus.RUNNING, started_at=now() - timedelta(seconds=90))
    await control.tick(2)
    ended = await control.job(ada, brief["id"])
    assert (ended["status"], ended["error"]["code"], ended["max_seconds"]) == ("cancelled", "time_limit", 60)
    assert (await control.job(ada, patient["id"]))["status"] == "running"


async def test_a_job_that_succeeds_before_it_is_stopped_for_its_time_has_no_error(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, max_seconds=60)
    control.backend.set(job["submission_id"], RayStatus.RUNNING, started_at=now() - timedelta(seconds=90))
    await control.tick()
    assert (await control.job(ada, job["id"]))["error"]["code"] == "time_limit"
    control.backend.set(job["submission_id"], RayStatus.SUCCEEDED)
    await control.tick()
    done = await control.job(ada, job["id"])
    assert (done["status"], done["error"]) == ("succeeded", None)


def write_run(folder: Path, steps: list[int], padding: int) -> Path:
    path = folder / "metrics.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(metrics_row(step, note="x" * padding)) + "\n" for step in steps)
        file.write('{"step": 99999, "torn')
    return path


def test_a_sample_of_a_long_run_holds_its_first_and_last_row_and_reads_little(tmp_path: Path) -> None:
    found = sample(write_run(tmp_path, list(range(5000)), 1000), 100)
    steps = [one["step"] for one in found]
    assert (steps[0], steps[-1], len(steps)) == (0, 4999, 101)
    assert max(b - a for a, b in pairwise(steps)) <= 60


def test_of_steps_that_were_done_again_a_sample_holds_the_last(tmp_path: Path) -> None:
    again = [*range(300), *range(100, 200)]
    steps = [one["step"] for one in sample(write_run(tmp_path, again, 10), 400)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 199


def test_rows_are_spread_evenly_with_both_ends() -> None:
    rows: list[dict[str, Any]] = [{"step": step} for step in range(11)]
    assert [one["step"] for one in spread(rows, 3)] == [0, 5, 10]
    assert spread(rows, 11) == rows
    assert spread([], 5) == []


async def test_the_chart_of_a_long_run_asks_for_points(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    Path(job["run"]).mkdir(parents=True)
    write_run(Path(job["run"]), list(range(6000)), 1000)
    await control.tick()
    path = f"/v1/jobs/{job['id']}"
    for points in (1500, 50):  # more than a page, and fewer
        found = (await control.client.get(f"{path}/metrics", params={"points": points}, headers=ada)).json()
        assert (len(found["data"]), found["data"][0]["step"], found["next"]) == (points, 0, 5999)
    groups = (await control.client.get(f"{path}/groups", params={"points": 50}, headers=ada)).json()
    assert groups["steps"] == [one["step"] for one in found["data"]]

"""One part is ill: the others go on, nothing is lost, and what cannot be had is said."""

from __future__ import annotations

import asyncio
import errno
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_history import metrics_row, write_metrics
from trialign_api.backend import RayStatus, Record
from trialign_api.reconcile.lease import Lease
from trialign_api.services.history import History
from trialign_api.store import jobs as rows
from trialign_api.store.models import now
from trialign_ray.errors import ClusterError, DataError

pytestmark = pytest.mark.anyio


async def strangers(control: Plane) -> list[str]:
    """What Ray calls the jobs that were adopted."""
    listed = await control.client.get("/v1/jobs?kind=external", headers=await control.key("root", "admin"))
    return [job["submission_id"] for job in listed.json()["data"]]


async def test_jobs_go_on_through_an_outage_that_is_longer_than_the_grace(tmp_path: Path) -> None:
    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada, retries=0)
        control.backend.down = True
        await control.tick(3)
        assert (await control.job(ada, job["id"]))["status"] == "running"
        control.backend.down = False
        await control.tick()
        assert control.backend.stopped == []
        assert (await control.told(ada, job["id"]))[-2:] == ["missing", "found"]


async def test_one_job_that_cannot_be_tended_holds_up_no_other(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await control.key("ada", "submit")
    odd, well = await control.running(ada, name="odd"), await control.running(ada, name="well")
    real = History.copy_metrics

    def copy(self: History, job_id: str, run: str) -> bool:
        if job_id == odd["id"]:
            raise RuntimeError("what nobody thought of")
        return real(self, job_id, run)

    monkeypatch.setattr(History, "copy_metrics", copy)
    control.backend.records["x" * 250] = Record("x" * 250, RayStatus.RUNNING)
    control.backend.records["stranger"] = Record("stranger", RayStatus.RUNNING)
    control.backend.set(f"{well['id']}-a1", RayStatus.SUCCEEDED)
    assert not await control.app.state.reconciler.tick()
    assert (await control.job(ada, odd["id"]))["status"] == "running"
    assert (await control.job(ada, well["id"]))["status"] == "succeeded"
    assert await strangers(control) == ["stranger"]


async def test_the_end_of_a_log_that_ray_does_not_give_yet_is_waited_for(control: Plane) -> None:
    """What it says decides whether the job is tried again."""
    ada = await control.key("ada", "submit")
    job = await control.running(ada, retries=1)
    control.backend.silent = True
    control.backend.text[f"{job['id']}-a1"] = "torch.OutOfMemoryError: no more\n"
    control.backend.set(f"{job['id']}-a1", RayStatus.FAILED, exit_code=1)
    await control.tick(2)
    assert (await control.job(ada, job["id"]))["status"] == "running"
    control.backend.silent = False
    await control.tick()
    assert (await control.job(ada, job["id"]))["retries_used"] == 1
    assert "no more" in (await control.client.get(f"/v1/jobs/{job['id']}/logs", headers=ada)).text


async def test_after_the_grace_a_job_ends_without_the_end_of_its_log_and_says_so(tmp_path: Path) -> None:
    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada)
        control.backend.silent = True
        control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
        await control.tick()
        assert (await control.told(ada, job["id"]))[-2:] == ["log_incomplete", "succeeded"]


async def test_a_job_whose_metrics_cannot_be_kept_waits(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)

    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(History, "copy_metrics", full)
        control.backend.set(f"{job['id']}-a1", RayStatus.SUCCEEDED)
        assert not await control.app.state.reconciler.tick()
        assert (await control.job(ada, job["id"]))["status"] == "running"
    write_metrics(job["run"], [metrics_row(7)])
    await control.tick()
    assert (await control.job(ada, job["id"]))["progress"]["step"] == 7


async def test_a_job_that_ray_lost_before_it_was_seen_to_run_goes_on_from_what_it_saved(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    await control.submit(ada)
    await control.tick(2)
    control.backend.records.clear()
    await control.tick()
    assert [sent.env.get("TRIALIGN_RESUME") for sent in control.backend.submissions] == [None, "1"]


async def test_what_is_over_on_ray_is_looked_up_once(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray remembers every job for ever, and a round comes every few seconds."""
    asked: list[str] = []
    real = rows.status_of_submissions

    async def look(session: Any, names: list[str]) -> Any:
        asked.extend(names)
        return await real(session, names)

    monkeypatch.setattr(rows, "status_of_submissions", look)
    names = [f"old-{number}" for number in range(1200)]
    control.backend.records = {name: Record(name, RayStatus.SUCCEEDED) for name in names[:40]}
    await control.tick(2)
    assert sorted(asked) == sorted(names[:40])
    control.backend.records["new"] = Record("new", RayStatus.RUNNING)
    await control.tick(2)
    assert asked[40:] == ["new", "new"]


async def test_a_long_log_is_fetched_more_rarely_but_whole_at_its_end(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialign_api.reconcile.copy._QUICK_SECONDS", 0.4)
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    name = f"{job['id']}-a1"
    control.backend.slow = 0.5
    for said in ("one\n", "one\ntwo\n"):
        control.backend.text[name] = said
        await asyncio.sleep(0.05)
        await control.tick()
    log = f"/v1/jobs/{job['id']}/logs"
    assert (await control.client.get(log, headers=ada)).text == "one\n"
    control.backend.set(name, RayStatus.SUCCEEDED)
    await control.tick()
    assert (await control.client.get(log, headers=ada)).text == "one\ntwo\n"


async def test_a_reconciler_that_hangs_lets_its_lease_run_out(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [True]
    keeper = Lease(control.store, 60, alive=lambda: alive[0])
    other = Lease(control.store, 60)
    reconciler = control.app.state.reconciler
    assert reconciler._lease.alive()
    reconciler._beat -= 3600
    assert not reconciler._lease.alive()
    assert await keeper.renew()
    assert not await other.renew()
    alive[0] = False
    assert not await keeper.renew()
    assert not await other.renew()
    monkeypatch.setattr("trialign_api.store.records.now", lambda: now() + timedelta(seconds=61))
    assert await other.renew()


async def test_a_lease_that_comes_to_a_process_wakes_its_loop(control: Plane) -> None:
    """Once: the round before it did nothing."""
    woken: list[bool] = []
    keeper = Lease(control.store, 60, taken=lambda: woken.append(keeper.held))
    for _ in range(2):
        assert await keeper.renew()
    await keeper.drop()
    assert await keeper.renew()
    assert woken == [True, True]
    assert control.app.state.reconciler._lease.taken == control.app.state.reconciler.wake


@pytest.mark.parametrize("noted", [True, False])
async def test_a_check_that_cannot_be_noted_down_waits_for_the_next_round(
    control: Plane, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    """It would be repeated without a pause."""
    reconciler, real = control.app.state.reconciler, rows.change

    async def full(*given: Any, **fields: Any) -> None:
        if not noted:
            raise OperationalError("UPDATE", {}, Exception("disk full"))
        await real(*given, **fields)

    await control.submit(await control.key("ada", "submit"))
    monkeypatch.setattr(rows, "change", full)
    reconciler._work.clear()
    await control.tick()
    await asyncio.sleep(0)
    assert reconciler._work.is_set() == noted


async def test_a_resumed_job_is_checked_like_a_new_one(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada, spec={"bad": True})
    await control.tick(2)
    await control.client.post(f"/v1/jobs/{job['id']}/resume", headers=ada)
    await control.tick(2)
    assert (await control.job(ada, job["id"]))["error"]["code"] == "bad_data"
    assert control.backend.submissions == []


async def test_a_dry_run_with_the_key_of_another_one_is_a_conflict(control: Plane) -> None:
    headers = await control.key("ada", "submit") | {"Idempotency-Key": "one"}
    answers = [
        await control.client.post("/v1/jobs:validate", json={"spec": {"kind": "tiny", "name": name}}, headers=headers)
        for name in ("x", "x", "y")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("fault", [OperationalError("SELECT", {}, Exception("gone")), TimeoutError(), DataError("odd")])
async def test_what_does_not_answer_a_reader_is_503(
    control: Plane, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise fault

    reader = await control.key("ada", "read")
    monkeypatch.setattr(rows, "find", fail)
    answer = await control.client.get("/v1/jobs", headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]


async def test_a_run_whose_storage_hangs_holds_up_no_other_and_costs_one_thread(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await control.key("ada", "submit")
    odd, well = await control.running(ada, name="odd"), await control.running(ada, name="well")
    back, asked, real = threading.Event(), [], History.copy_metrics

    def copy(self: History, job_id: str, run: str) -> bool:
        if job_id == odd["id"]:
            asked.append(run)
            back.wait()
        return real(self, job_id, run)

    monkeypatch.setattr(History, "copy_metrics", copy)
    monkeypatch.setattr("trialign_api.threads._SECONDS", 1.0)
    monkeypatch.setattr("trialign_api.reconcile.loop._ROUND_SECONDS", 0.1)
    control.backend.set(f"{well['id']}-a1", RayStatus.SUCCEEDED)
    await control.client.post(f"/v1/jobs/{odd['id']}/cancel", headers=ada)

    async def is_now(job: dict[str, Any], status: str) -> bool:
        return bool((await control.job(ada, job["id"]))["status"] == status)

    async def stopped() -> bool:
        return bool(control.backend.stopped)

    await control.rounds_until(stopped)
    await control.rounds_until(lambda: is_now(well, "succeeded"))
    await control.tick(5)
    assert control.backend.stopped == [f"{odd['id']}-a1"]
    assert len(asked) == 1
    back.set()
    await control.rounds_until(lambda: is_now(odd, "cancelled"))


async def test_a_job_whose_metrics_cannot_be_read_can_be_stopped_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada)
        monkeypatch.setattr(History, "copy_metrics", refuse)
        await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
        assert await control.app.state.reconciler.tick()
        assert control.backend.stopped == [f"{job['id']}-a1"]
        await control.tick()
        assert (await control.told(ada, job["id"]))[-2:] == ["metrics_incomplete", "cancelled"]


async def test_a_failure_is_told_from_the_log_of_its_own_attempt(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, retries=2)
    control.backend.text[f"{job['id']}-a1"] = "torch.OutOfMemoryError: no more\n"
    control.backend.set(f"{job['id']}-a1", RayStatus.FAILED, exit_code=1)
    await control.tick(2)
    control.backend.set(f"{job['id']}-a2", RayStatus.FAILED, exit_code=1, message="odd")
    await control.tick()
    failed = await control.job(ada, job["id"])
    assert (failed["status"], failed["error"]["code"], failed["error"]["log_tail"]) == ("failed", "error", [])


async def test_an_orphan_that_cannot_be_stopped_holds_up_no_stranger(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.tick(2)

    async def ill(_: str) -> None:
        raise ClusterError("Ray: status code 500.")

    monkeypatch.setattr(control.backend, "stop", ill)
    control.backend.set(f"{job['id']}-a1", RayStatus.RUNNING)
    control.backend.records["stranger"] = Record("stranger", RayStatus.RUNNING)
    assert await control.app.state.reconciler.tick()
    assert await strangers(control) == ["stranger"]


def test_two_that_copy_the_same_log_at_once_leave_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history, meet = History(tmp_path, 1 << 20), threading.Barrier(2)
    touch = Path.touch

    def both(path: Path) -> None:
        touch(path)
        meet.wait(10)

    history.extend_log("job", 1, "one\n")
    monkeypatch.setattr(Path, "touch", both)
    writers = [threading.Thread(target=history.extend_log, args=("job", 1, "one\ntwo\n")) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert history.log("job", 1).read_text() == "one\ntwo\n"


async def test_storage_that_hangs_keeps_no_reader_waiting(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    back = threading.Event()
    monkeypatch.setattr("trialign_api.threads._SECONDS", 0.05)
    monkeypatch.setattr("trialign_api.services.runs.checkpoints", lambda _: back.wait())
    answer = await control.client.get(f"/v1/jobs/{job['id']}/checkpoints", headers=ada)
    back.set()
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_ray_that_cannot_be_asked_for_a_log_stops_no_other_call(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.silent = True
    await control.tick()
    with pytest.raises(ClusterError):
        await control.backend.logs(f"{job['id']}-a1")
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.tick()
    assert control.backend.stopped == [f"{job['id']}-a1"]

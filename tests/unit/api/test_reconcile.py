"""Store and Ray: whatever either forgets, every job ends and none runs twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.fake import FakeBackend, Plane, eventually, plane
from tests.unit.api.test_history import metrics_row, write_metrics
from trialign_api.backend import RayStatus, Record, Submission
from trialign_ray.errors import ClusterError

pytestmark = pytest.mark.anyio


async def test_a_crash_between_row_and_ray_loses_and_doubles_nothing(control: Plane) -> None:
    """The row says `starting`, Ray has not heard of it: the next round submits, under the same name."""
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.tick()
    control.backend.down = False
    real = control.backend.submit

    async def crash(_: Submission) -> None:
        raise SystemError("killed")

    control.backend.submit = crash  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemError):
        await control.tick()
    assert (await control.job(ada, job["id"]))["status"] == "starting"
    control.backend.submit = real  # type: ignore[method-assign]
    await control.tick(3)
    assert [sent.submission_id for sent in control.backend.submissions] == [f"{job['id']}-a1"]


async def test_a_crash_after_ray_heard_submits_no_second_time(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.tick()
    real = control.backend.submit

    async def answer_lost(submission: Submission) -> None:
        await real(submission)
        raise SystemError("killed")

    control.backend.submit = answer_lost  # type: ignore[method-assign]
    with pytest.raises(SystemError):
        await control.tick()
    control.backend.submit = real  # type: ignore[method-assign]
    control.backend.set(f"{job['id']}-a1", RayStatus.RUNNING)
    await control.tick(2)
    assert [sent.submission_id for sent in control.backend.submissions] == [f"{job['id']}-a1"]
    assert (await control.job(ada, job["id"]))["status"] == "running"


async def test_a_new_job_reaches_ray_without_waiting_for_a_round(tmp_path: Path) -> None:
    """It wakes one for its check, and the check that ends wakes the next."""
    async with plane(tmp_path, reconcile_seconds=60) as control:
        ada = await control.key("ada", "submit")
        loop = asyncio.create_task(control.app.state.reconciler.run())
        await control.submit(ada)
        await eventually(lambda: bool(control.backend.submissions))
        await control.app.state.reconciler.stop(loop)
        assert len(control.backend.submissions) == 1


async def test_jobs_wait_while_ray_is_away(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    control.backend.down = True
    job = await control.submit(ada)
    await control.tick(3)
    assert (await control.job(ada, job["id"]))["status"] == "queued"
    control.backend.down = False
    await control.tick()
    assert (await control.job(ada, job["id"]))["status"] == "starting"


async def test_a_submission_that_ray_cannot_take_is_told_once_and_sent_again_until_it_can(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    real = control.backend.submit

    async def ill(_: Submission) -> None:
        raise ClusterError("Ray: status code 500: the head is ill.")

    control.backend.submit = ill  # type: ignore[assignment,method-assign]
    await control.tick(5)
    control.backend.submit = real  # type: ignore[method-assign]
    await control.run(ada, job["id"])
    events = await control.events(ada, job["id"])
    told = [event for event in events if event["type"] == "delayed"]
    assert [("the head is ill" in event["message"]) for event in told] == [True]
    assert events[-1]["type"] == "running"


async def test_a_job_that_no_node_has_room_for_says_once_what_it_waits_for(tmp_path: Path) -> None:
    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.submit(ada)
        await control.tick(2)
        name = f"{job['id']}-a1"
        control.backend.set(name, RayStatus.PENDING, message="It may be waiting for resources (CPUs).")
        await control.tick(3)
        assert await control.told(ada, job["id"]) == ["created", "queued", "starting", "delayed"]
        assert "CPUs" in (await control.events(ada, job["id"]))[-1]["message"]
        control.backend.set(name, RayStatus.RUNNING)
        await control.tick()
        assert (await control.job(ada, job["id"]))["status"] == "running"


async def test_a_job_that_ray_has_forgotten_ends_as_cluster_lost_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialign_api.reconcile.copy._QUICK_SECONDS", 60.0)
    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada, retries=0)
        control.backend.text[f"{job['id']}-a1"] = "step 1\nstep 2\n"
        await control.tick()
        control.backend.records.clear()
        await control.tick(2)
        lost = await control.job(ada, job["id"])
        assert (lost["status"], lost["error"]["code"]) == ("failed", "cluster_lost")
        assert lost["error"]["log_tail"] == ["step 1", "step 2"]
        log = await control.client.get(f"/v1/jobs/{job['id']}/logs", headers=ada)
        assert log.text == "step 1\nstep 2\n"


async def test_within_the_grace_a_forgotten_job_goes_on_when_ray_knows_it_again(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.down = True
    await control.tick(2)
    assert (await control.job(ada, job["id"]))["status"] == "running"
    control.backend.down = False
    await control.tick(2)
    assert (await control.told(ada, job["id"]))[-2:] == ["missing", "found"]
    assert len(control.backend.submissions) == 1


async def test_a_lost_job_with_retries_left_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    async with plane(tmp_path, grace_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada, retries=1)
        (Path(job["run"]) / "checkpoints" / "checkpoint_1").mkdir(parents=True)
        control.backend.records.clear()
        await control.tick(3)
        again = await control.job(ada, job["id"])
        assert (again["status"], again["attempt"], again["retries_used"]) == ("starting", 2, 1)
        assert control.backend.submissions[-1].env["TRIALIGN_RESUME"] == "1"


async def test_retries_end(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada, retries=2)
    for attempt in (1, 2, 3):
        await control.run(ada, job["id"])
        control.backend.set(f"{job['id']}-a{attempt}", RayStatus.FAILED, message="ray.exceptions.ActorDiedError: gone")
        await control.tick()
    ended = await control.job(ada, job["id"])
    assert (ended["status"], ended["error"]["code"], ended["retries_used"]) == ("failed", "worker_died", 2)
    assert len(control.backend.submissions) == 3


async def test_a_given_up_attempt_that_still_runs_is_stopped_before_the_next_starts(tmp_path: Path) -> None:
    async with plane(tmp_path, outage_seconds=0) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada, retries=1)
        control.backend.down = True
        await control.tick(2)
        assert (await control.job(ada, job["id"]))["status"] == "queued"
        control.backend.down = False
        await control.tick()
        assert control.backend.stopped == [f"{job['id']}-a1"]
        assert len(control.backend.submissions) == 1
        await control.tick()
        assert control.backend.submissions[-1].submission_id == f"{job['id']}-a2"


async def test_jobs_of_ray_job_submit_are_listed_and_followed_but_not_run_again(control: Plane) -> None:
    admin = await control.key("root", "admin")
    control.backend.records["raysubmit_x"] = Record(
        "raysubmit_x", RayStatus.RUNNING, entrypoint="python jobs/train.py spec.yaml", metadata={"job_name": "by hand"}
    )
    control.backend.text["raysubmit_x"] = "hello\n"
    await control.tick(2)
    [job] = (await control.client.get("/v1/jobs", headers=admin)).json()["data"]
    assert (job["kind"], job["name"], job["status"]) == ("external", "by hand", "running")
    control.backend.set("raysubmit_x", RayStatus.FAILED, exit_code=3, message="exit code 3")
    await control.tick(2)
    [job] = (await control.client.get("/v1/jobs", headers=admin)).json()["data"]
    assert (job["status"], job["error"]["code"]) == ("failed", "bad_data")
    assert (await control.client.get(f"/v1/jobs/{job['id']}/logs", headers=admin)).text == "hello\n"
    answer = await control.client.post(f"/v1/jobs/{job['id']}/retry", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "external_job")


@pytest.mark.parametrize(("place", "seen"), [("runs/by-hand", True), ("../elsewhere", False)])
async def test_the_run_that_a_stranger_announces_is_shown_where_it_may_be_read(
    control: Plane, place: str, seen: bool
) -> None:
    admin = await control.key("root", "admin")
    run = Path(control.settings.workspace, place)
    write_metrics(str(run), [metrics_row(0), metrics_row(1)])
    control.backend.records["raysubmit_x"] = Record("raysubmit_x", RayStatus.RUNNING)
    control.backend.text["raysubmit_x"] = f"hello\nrun: {run}\n4 questions\n"
    await control.tick(3)
    [job] = (await control.client.get("/v1/jobs", headers=admin)).json()["data"]
    found = (await control.client.get(f"/v1/jobs/{job['id']}/metrics", headers=admin)).json()["data"]
    assert (job["run"] == str(run), len(found) == 2) == (seen, seen)


async def test_a_forgotten_stranger_is_never_submitted(tmp_path: Path) -> None:
    async with plane(tmp_path, grace_seconds=0) as control:
        admin = await control.key("root", "admin")
        control.backend.records["raysubmit_x"] = Record("raysubmit_x", RayStatus.PENDING)
        await control.tick()
        control.backend.records.clear()
        await control.tick(3)
        [job] = (await control.client.get("/v1/jobs", headers=admin)).json()["data"]
        assert (job["status"], job["error"]["code"]) == ("failed", "cluster_lost")
        assert control.backend.submissions == []


async def test_a_job_stopped_on_ray_is_cancelled_here(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.set(f"{job['id']}-a1", RayStatus.STOPPED)
    await control.tick()
    assert (await control.job(ada, job["id"]))["status"] == "cancelled"


async def test_a_late_submission_of_a_cancelled_job_is_stopped(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.tick(2)
    late = control.backend.records.pop(f"{job['id']}-a1")
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.tick()
    assert (await control.job(ada, job["id"]))["status"] == "cancelled"
    control.backend.records[late.submission_id] = replace(late, status=RayStatus.RUNNING, started_at=datetime.now(UTC))
    await control.tick()
    assert control.backend.stopped == [late.submission_id]


async def test_two_reconcilers_of_one_database_submit_each_job_once(tmp_path: Path, database: str) -> None:
    """Even where both work at once, as when one was taken for dead and was not."""
    ray = FakeBackend()
    given: dict[str, Any] = {"database": database, "owner_active_jobs": 4}
    async with plane(tmp_path, ray, **given) as one, plane(tmp_path, ray, **given) as other:
        ada = await one.key("ada", "submit")
        jobs = [(await one.submit(ada, f"job{number}"))["id"] for number in range(4)]
        for _ in range(4):
            await asyncio.gather(one.tick(), other.tick())
        assert {sent.submission_id for sent in ray.submissions} == {f"{job}-a1" for job in jobs}
        for job in jobs:
            events = await one.events(ada, job)
            assert [event["type"] for event in events].count("starting") == 1

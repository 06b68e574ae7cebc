"""The queue knows what jobs need, whose they are, how often they failed and how long they may run."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.unit.api.fake import Plane, plane
from tests.unit.api.test_datasets import lines, upload
from tests.unit.data.samples import row
from trialign_api import disk
from trialign_api.backend import RayStatus
from trialign_api.reconcile.classify import classify
from trialign_api.reconcile.decide import Patience
from trialign_api.reconcile.lease import Lease
from trialign_api.services.plan import _needs
from trialign_api.states import Status
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.models import LeaseRow, now
from trialign_ray.config.derived import GROUP_CPUS, reserved
from trialign_ray.config.tasks import AuditSpec
from trialign_ray.config.train import LearnerSpec

pytestmark = pytest.mark.anyio
WHOLE = {"cpus": 1.96}
"""What a default training job reserves of a machine with two cores."""


async def statuses(control: Plane, auth: dict[str, str]) -> dict[str, str]:
    found = (await control.client.get("/v1/jobs", headers=auth)).json()["data"]
    return {job["name"]: job["status"] for job in found}


async def end(control: Plane, auth: dict[str, str], job_id: str, status: RayStatus, **changes: Any) -> Any:
    job = await control.job(auth, job_id)
    control.backend.set(job["submission_id"], status, **changes)
    await control.tick()
    return await control.job(auth, job_id)


async def test_two_jobs_that_do_not_fit_together_run_one_after_the_other_and_lose_no_retry(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    first, second = await control.submit(ada, "first", spec=WHOLE), await control.submit(ada, "second", spec=WHOLE)
    await control.run(ada, first["id"])
    await control.tick(3)
    assert await statuses(control, ada) == {"first": "running", "second": "queued"}
    await end(control, ada, first["id"], RayStatus.SUCCEEDED)
    done = await control.run(ada, second["id"])
    assert (done["status"], done["attempt"], done["retries_used"]) == ("running", 1, 0)


async def test_four_jobs_of_one_owner_do_not_hold_up_a_short_one_of_another(control: Plane) -> None:
    ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
    for number in range(4):
        await control.submit(ada, f"long{number}")
    await control.tick(3)
    await control.submit(bob, "short")
    await control.tick(2)
    assert list((await statuses(control, ada)).values()).count("queued") == 1
    assert await statuses(control, bob) == {"short": "starting"}


def test_a_training_run_reserves_its_workers_and_its_groups_together() -> None:
    assert reserved(LearnerSpec(), 8) == {"CPU": pytest.approx(2 * 0.9 + 8 * GROUP_CPUS)}
    assert reserved(LearnerSpec(workers=3, gpu=True, cpus_per_worker=1), 2)["GPU"] == 3


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        ({}, {"CPU": 1}),
        ({"workers": 3}, {"CPU": 4}),
        ({"workers": 3, "read": "score"}, {"CPU": 4}),
        ({"workers": 2, "device": "cuda"}, {"CPU": 3, "GPU": 2}),
        ({"workers": 2, "gpus_per_worker": 0.5}, {"CPU": 3, "GPU": 1}),
        ({"generator": {"name": "vllm"}, "gpus_per_worker": 4}, {"CPU": 2, "GPU": 4}),
        ({"generator": {"name": "vllm"}, "device": "cpu"}, {"CPU": 2}),
    ],
)
def test_an_audit_reserves_its_own_process_and_its_workers(given: dict[str, Any], needs: dict[str, float]) -> None:
    spec = AuditSpec(kind="audit", name="x", model="m", questions="q.json", groups="g.yaml", **given)
    assert _needs(spec) == needs


def test_retries_wait_twice_as_long_each_time_but_not_for_ever() -> None:
    hour = timedelta(hours=1)
    patience = Patience(hour, hour, hour, timedelta(seconds=10))
    assert [patience.before_retry(used).total_seconds() for used in (0, 1, 2, 19)] == [10, 20, 40, 3600]


async def test_a_retry_is_not_due_at_once(tmp_path: Path) -> None:
    async with plane(tmp_path, retry_seconds=3600) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada, retries=1)
        await end(control, ada, job["id"], RayStatus.FAILED, exit_code=-9)
        await control.tick(2)
        waiting = await control.job(ada, job["id"])
        assert (waiting["status"], waiting["retries_used"], len(control.backend.submissions)) == ("queued", 1, 1)


async def test_a_job_that_runs_too_long_is_stopped_and_says_why(tmp_path: Path) -> None:
    async with plane(tmp_path, run_seconds=60) as control:
        ada = await control.key("ada", "submit")
        job = await control.running(ada)
        started = now() - timedelta(seconds=61)
        stopped = await end(control, ada, job["id"], RayStatus.RUNNING, started_at=started)
        assert (stopped["status"], stopped["error"]["code"]) == ("cancelling", "time_limit")
        await control.tick(2)
        assert control.backend.stopped == [job["submission_id"]]
        assert (await control.job(ada, job["id"]))["status"] == "cancelled"


async def test_out_of_memory_in_an_evaluation_is_told_as_such_with_the_last_exceptions_line(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, retries=0)
    killed = "Task was killed due to the node running low on memory."
    control.backend.text[job["submission_id"]] = f"cluster_unavailable: a worker was lost: {killed} Lower workers.\n"
    failed = await end(control, ada, job["id"], RayStatus.FAILED, exit_code=5)
    assert failed["error"]["code"] == "out_of_memory"
    job = await control.running(ada, retries=0)
    trace = (
        "Traceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\nbye\n"
    )
    control.backend.text[job["submission_id"]] = trace
    failed = await end(control, ada, job["id"], RayStatus.FAILED, exit_code=1, message="Job entrypoint failed\nmore")
    assert failed["error"]["code"] == "out_of_memory"
    assert failed["error"]["message"] == "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB"
    assert classify(control.backend.records[job["submission_id"]], []) == "error"


async def test_a_job_that_is_over_is_deleted_with_what_it_wrote_and_its_events_stay(control: Plane) -> None:
    ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
    job = await control.running(ada, labels={"team": "x"})
    path = f"/v1/jobs/{job['id']}"
    run = Path(job["run"])
    (run / "checkpoints").mkdir(parents=True)
    control.backend.text[job["submission_id"]] = "hello\n"
    refused = await control.client.delete(path, headers=ada)
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_status")
    await end(control, ada, job["id"], RayStatus.SUCCEEDED)
    assert (await control.client.delete(path, headers=bob)).status_code == 404
    assert (await control.client.delete(path, params={"run": "true"}, headers=ada)).json()["id"] == job["id"]
    assert (run.parent.exists(), (control.settings.data / "jobs" / job["id"]).exists()) == (False, False)
    assert run.parent.parent.exists()
    for tail in ("", "/events", "/logs"):
        assert (await control.client.get(path + tail, headers=ada)).status_code == 404
    assert await statuses(control, ada) == {}
    await control.tick(2)
    assert await statuses(control, await control.key("root", "admin")) == {}


async def test_a_deleted_dataset_is_gone_unless_a_job_reads_it(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    dataset = (await upload(control, ada, lines(row()))).json()
    job = await control.running(ada, spec={"input": dataset["path"]})
    path = f"/v1/datasets/{dataset['id']}"
    refused = await control.client.delete(path, headers=ada)
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    await end(control, ada, job["id"], RayStatus.SUCCEEDED)
    assert (await control.client.delete(path, headers=ada)).status_code == 200
    assert (await control.client.get(path, headers=ada)).status_code == 404
    assert not (control.settings.data / "datasets" / dataset["id"]).exists()


async def test_an_owners_jobs_and_bytes_end_at_the_quota(tmp_path: Path) -> None:
    body = lines(row())
    async with plane(tmp_path) as control:
        first = (await upload(control, await control.key("eve", "submit"), body)).json()["id"]
        held = disk.taken(control.settings.data / "datasets" / first)
    async with plane(tmp_path, owner_jobs=2, owner_bytes=held + 10) as control:
        ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
        jobs = [await control.submit(ada, f"job{number}") for number in range(2)]
        third = {"spec": {"kind": "tiny", "name": "third"}}
        refused = await control.client.post("/v1/jobs", json=third, headers=ada)
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
        await control.submit(bob)
        await control.client.post(f"/v1/jobs/{jobs[0]['id']}/cancel", headers=ada)
        assert (await control.client.post("/v1/jobs", json=third, headers=ada)).status_code == 201
        resumed = await control.client.post(f"/v1/jobs/{jobs[0]['id']}/resume", headers=ada)
        assert resumed.json()["code"] == "quota_exceeded"
        assert (await upload(control, ada, body)).status_code == 201
        assert (await upload(control, ada, body)).json()["code"] == "quota_exceeded"
        assert (await upload(control, bob, body)).status_code == 201
        assert len(list((control.settings.data / "datasets").iterdir())) == 3


async def test_a_full_disk_is_507_and_cancelling_still_works(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    monkeypatch.setattr(disk, "SPARE_BYTES", 1 << 60)
    refused = await upload(control, ada, lines(row()))
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    control.backend.text[job["submission_id"]] = "more\n"
    await control.tick()
    assert (await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)).status_code == 202
    await control.tick(2)
    assert (await control.job(ada, job["id"]))["status"] == "cancelled"
    assert not (control.settings.data / "jobs" / job["id"] / "log-1.txt").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OperationalError("INSERT", {}, Exception("database or disk is full")),
    ],
)
async def test_a_disk_that_is_full_for_the_database_is_507_too(
    control: Plane, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ada = await control.key("ada", "submit")

    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Store, "writes", full)
    answer = await control.client.post("/v1/jobs", json={"spec": {"kind": "tiny", "name": "x"}}, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")


async def test_a_term_from_a_clock_ahead_is_not_believed_for_ever(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("trialign_api.reconcile.lease.time.monotonic", lambda: clock[0])
    async with control.store.writes() as session:
        session.add(LeaseRow(name="reconciler", holder="dead", until=now() + timedelta(hours=9)))
    keeper = Lease(control.store, 15)
    for clock[0], held in ((1.0, False), (30.0, False), (31.5, True)):
        assert await keeper.renew() is held
    other = Lease(control.store, 15)
    for clock[0] in (40.0, 50.0, 60.0, 90.0):
        assert await keeper.renew()
        assert not await other.renew()


async def test_readiness_tells_whether_ray_answers(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialign_api.services.cluster._FRESH_SECONDS", -1.0)
    assert (await control.client.get("/readyz")).json() == {
        "status": "ok",
        "checks": {"database": "ok", "cluster": "ok"},
    }
    control.backend.down = True
    answer = await control.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["cluster"] == "does not answer"


async def test_a_check_that_takes_the_service_down_does_not_do_so_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start begins the check anew, and none of these comes to its end."""
    monkeypatch.setattr("trialign_api.reconcile.start._MOST_CHECKS", 3)
    async with plane(tmp_path) as control:
        ada = await control.key("ada", "submit")
        job = await control.submit(ada)
    for _ in range(3):
        async with plane(tmp_path) as control:
            starter = control.app.state.reconciler._starter
            async with control.store.reads() as session:
                [waiting] = await rows.in_status(session, {Status.VALIDATING})
            assert await starter._counted(waiting)
    async with plane(tmp_path) as control:
        await control.tick()
        found = await control.job(ada, job["id"])
        assert (found["status"], found["error"]["code"]) == ("failed", "bad_data")

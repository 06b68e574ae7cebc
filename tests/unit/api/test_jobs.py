"""The life of a job over HTTP, with the reconciler's rounds in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.fake import Plane, plane
from trialign_api.backend import RayStatus
from trialign_api.schemas import JobOut
from trialign_api.store import models

pytestmark = pytest.mark.anyio


async def test_a_job_goes_from_submission_to_success(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada, labels={"team": "x"}, retries=1)
    assert (job["status"], job["owner"], job["labels"]) == ("validating", "ada", {"team": "x"})
    running = await control.run(ada, job["id"])
    assert (running["status"], running["submission_id"]) == ("running", f"{job['id']}-a1")
    control.backend.set(running["submission_id"], RayStatus.SUCCEEDED)
    await control.tick()
    assert (await control.job(ada, job["id"]))["status"] == "succeeded"
    events = await control.events(ada, job["id"])
    assert [event["type"] for event in events] == ["created", "queued", "starting", "running", "succeeded"]
    assert events[1]["data"]["plan"]["derived"] == {"steps": 3}


async def test_ray_gets_the_resolved_specification_and_the_job_in_its_metadata(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.tick(2)
    [sent] = control.backend.submissions
    spec = json.loads(sent.env["TRIALIGN_SPEC"])
    assert sent.module == "tiny"
    assert spec["runs"] == f"{Path(control.settings.workspace).resolve()}/runs/{job['id']}"
    assert job["run"] == f"{spec['runs']}/one"
    assert sent.env["RAY_JOB_STOP_WAIT_TIME_S"] == "120"
    assert "TRIALIGN_RESUME" not in sent.env
    assert sent.metadata["trialign_job_id"] == job["id"]
    assert (sent.metadata["job_name"], sent.metadata["trialign_owner"]) == ("one", "ada")


async def test_bad_data_fails_the_job_before_ray_hears_of_it(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada, spec={"bad": True})
    await control.tick(2)
    failed = await control.job(ada, job["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "bad_data")
    assert control.backend.submissions == []


async def test_cancel_stops_a_running_job_and_twice_is_once(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    for _ in range(2):
        answer = await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    await control.tick(2)
    assert control.backend.stopped == [f"{job['id']}-a1"]
    assert (await control.job(ada, job["id"]))["status"] == "cancelled"


async def test_cancel_of_a_waiting_job_never_reaches_ray(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    answer = await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.tick(2)
    assert answer.json()["status"] == "cancelled"
    assert control.backend.submissions == []


async def test_a_cancelled_job_resumes_from_its_checkpoint_as_a_new_attempt(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    (Path(job["run"]) / "checkpoints" / "checkpoint_000001").mkdir(parents=True)
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.tick(2)
    answer = await control.client.post(f"/v1/jobs/{job['id']}/resume", headers=ada)
    assert (answer.status_code, answer.json()["status"], answer.json()["attempt"]) == (202, "validating", 2)
    await control.tick(2)
    sent = control.backend.submissions[-1]
    assert (sent.submission_id, sent.env["TRIALIGN_RESUME"]) == (f"{job['id']}-a2", "1")


async def test_a_job_cancelled_before_it_started_resumes_as_its_first_attempt(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    await control.client.post(f"/v1/jobs/{job['id']}/resume", headers=ada)
    await control.tick(2)
    [sent] = control.backend.submissions
    assert sent.submission_id == f"{job['id']}-a1"
    assert "TRIALIGN_RESUME" not in sent.env


async def test_retry_is_a_new_job_with_the_same_specification_and_another_run_folder(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada, labels={"team": "x"})
    control.backend.set(f"{job['id']}-a1", RayStatus.FAILED, exit_code=3)
    await control.tick()
    answer = await control.client.post(f"/v1/jobs/{job['id']}/retry", headers=ada)
    new = answer.json()
    assert answer.status_code == 201
    assert (new["retry_of"], new["spec"], new["labels"]) == (job["id"], job["spec"], job["labels"])
    assert new["id"] != job["id"]
    assert new["run"] != job["run"]


@pytest.mark.parametrize("action", ["resume", "retry"])
async def test_a_job_that_is_not_over_can_be_neither_resumed_nor_retried(control: Plane, action: str) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    answer = await control.client.post(f"/v1/jobs/{job['id']}/{action}", headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_status")


async def test_the_queue_gives_ray_no_more_jobs_than_allowed_the_oldest_first(tmp_path: Path) -> None:
    async with plane(tmp_path, active_jobs=2) as control:
        ada = await control.key("ada", "submit")
        made = [(await control.submit(ada, f"job{number}"))["id"] for number in range(4)]
        await control.tick(3)
        assert [sent.metadata["trialign_job_id"] for sent in control.backend.submissions] == made[:2]
        control.backend.set(f"{made[0]}-a1", RayStatus.SUCCEEDED)
        await control.tick()
        assert [sent.metadata["trialign_job_id"] for sent in control.backend.submissions] == made[:3]


async def test_validate_answers_the_plan_and_stores_nothing(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    good = await control.client.post("/v1/jobs:validate", json={"spec": {"kind": "tiny", "name": "x"}}, headers=ada)
    bad = await control.client.post(
        "/v1/jobs:validate", json={"spec": {"kind": "tiny", "name": "x", "bad": True}}, headers=ada
    )
    assert good.json()["plan"]["derived"] == {"steps": 3}
    assert (bad.status_code, bad.json()["code"]) == (422, "bad_data")
    assert (await control.client.get("/v1/jobs", headers=ada)).json()["data"] == []


async def test_lists_are_paged_by_cursor_and_filtered(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    made = [(await control.submit(ada, f"job{n}", labels={"half": str(n % 2)}))["id"] for n in range(5)]

    async def get(**query: Any) -> Any:
        return (await control.client.get("/v1/jobs", params=query, headers=ada)).json()

    first = await get(limit=3)
    rest = await get(limit=3, after=first["next_cursor"])
    assert [job["id"] for job in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert [job["id"] for job in (await get(label="half:1"))["data"]] == [made[3], made[1]]
    assert (await get(status="running"))["data"] == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("stauts=failed", "stauts"),
        ("kind=train&kind=audit", "kind"),
        ("created_after=0.0", "created_after"),
        ("created_after=2026-11-21T09:00:00", "created_after"),
        ("created_before=yesterday", "created_before"),
    ],
)
async def test_a_query_that_is_not_understood_does_not_list_every_job(control: Plane, query: str, name: str) -> None:
    answer = await control.client.get(f"/v1/jobs?{query}", headers=await control.key("ada", "read"))
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [f"/query/{name}"])


@pytest.mark.parametrize(("retries", "status"), [(2, 201), (2.0, 201), (2.5, 422), ("2", 422), (True, 422)])
async def test_a_whole_number_is_what_json_schema_calls_one(control: Plane, retries: object, status: int) -> None:
    body = {"spec": {"kind": "tiny", "name": "x"}, "retries": retries}
    answer = await control.client.post("/v1/jobs", json=body, headers=await control.key("ada", "submit"))
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"kind": "dance"}, "/body/spec/kind"),
        ({"kind": "tiny"}, "/body/spec/name"),
        ({"kind": "tiny", "name": "x", "entrypoint": "rm -rf /"}, "/body/spec/entrypoint"),
        ({"kind": "tiny", "name": "../x"}, "/body/spec/name"),
        ({"kind": "tiny", "name": "x", "input": "/etc/passwd"}, "/body/spec/input"),
        ({"kind": "tiny", "name": "x", "runs": "../elsewhere"}, "/body/spec/runs"),
        ({"kind": "train", "name": "x", "model": "m", "logs": "l", "lora": {"rank": 0}}, "/body/spec/lora/rank"),
    ],
)
async def test_a_wrong_specification_is_a_problem_that_points_at_the_field(
    control: Plane, spec: dict[str, Any], pointer: str
) -> None:
    ada = await control.key("ada", "submit")
    answer = await control.client.post("/v1/jobs", json={"spec": spec}, headers=ada)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert pointer in [fault["pointer"] for fault in problem["errors"]]
    assert problem["type"] == f"urn:trialign:problem:{problem['code']}"
    assert (await control.client.get("/v1/jobs", headers=ada)).json()["data"] == []


@pytest.mark.parametrize(
    ("kind", "resumable"), [("train", True), ("audit", False), ("collect", False), ("external", False)]
)
async def test_a_job_says_whether_a_resume_goes_on_where_it_stopped(kind: str, resumable: bool) -> None:
    columns: dict[str, Any] = dict.fromkeys(column.key for column in models.Job.__table__.columns)
    filled = {"id": "job-1", "kind": kind, "name": "n", "owner": "ada", "status": "failed", "spec": {}, "labels": {}}
    numbers: dict[str, Any] = {"attempt": 1, "retries": 0, "retries_used": 0, "priority": 0, "paused": False}
    numbers |= {"created_at": models.now(), "updated_at": models.now()}
    assert JobOut.of(models.Job(**columns | filled | numbers)).resumable == resumable

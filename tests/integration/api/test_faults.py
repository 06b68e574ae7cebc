"""The disk is full, Ray refuses, an answer is old: one job's trouble is its own, and nothing is tried for ever."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from ray.job_submission import JobSubmissionClient
from sqlalchemy import update

from tests.unit.api.fake import Plane, plane
from trialign_api.backend import RayStatus, Submission, SubmissionRefusedError
from trialign_api.backend.ray_jobs import RayJobsBackend
from trialign_api.services.history import History
from trialign_api.store.models import IdempotencyRow, now
from trialign_ray.errors import ClusterError

pytestmark = [pytest.mark.integration, pytest.mark.anyio]
SUBMISSION = Submission("job-1-a1", "module", {}, {})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Plane]:
    async with plane(tmp_path) as found:
        yield found


async def test_a_job_whose_log_cannot_be_kept_waits_and_the_others_go_on(
    control: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await control.key("ada", "submit")
    full, other = [(await control.submit(ada, name))["id"] for name in ("full", "other")]
    for job_id in (full, other):
        await control.run(ada, job_id)
    for job_id in (full, other):
        control.backend.text[f"{job_id}-a1"] = "the end\n"
        control.backend.set(f"{job_id}-a1", RayStatus.SUCCEEDED)
    extend = History.extend_log

    def no_room(self: History, job_id: str, attempt: int, text: str) -> int:
        if job_id == full:
            raise OSError(28, "No space left on device")
        return extend(self, job_id, attempt, text)

    with monkeypatch.context() as patch:
        patch.setattr(History, "extend_log", no_room)
        assert not await control.app.state.reconciler.tick()
    assert [(await control.job(ada, job_id))["status"] for job_id in (full, other)] == ["running", "succeeded"]
    assert await control.app.state.reconciler.tick()
    assert (await control.job(ada, full))["status"] == "succeeded"
    assert (await control.client.get(f"/v1/jobs/{full}/logs", headers=ada)).text == "the end\n"


async def test_a_job_that_ray_refuses_for_good_fails_and_says_why(control: Plane) -> None:
    async def refuse(_: Submission) -> None:
        raise SubmissionRefusedError("Ray refuses the job: ValueError: no such working_dir")

    control.backend.submit = refuse  # type: ignore[method-assign, assignment]
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.tick(2)
    failed = await control.job(ada, job["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "submission_refused")
    assert "no such working_dir" in failed["error"]["message"]
    assert failed["ended_at"] is not None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            RuntimeError("Request failed with status code 400: ...\nValueError: bad"),
            SubmissionRefusedError,
        ),
        (TypeError("runtime_env['env_vars'] must be a dictionary"), SubmissionRefusedError),
        (RuntimeError("Request failed with status code 500: No available agent to submit job"), ClusterError),
        (RuntimeError("Request failed with status code 401: no token"), ClusterError),
        (requests.ConnectionError("refused"), ClusterError),
        (RuntimeError("Request failed with status code 400: job with submission_id x already exists"), None),
    ],
)
async def test_what_ray_answers_is_a_refusal_only_where_it_will_not_change(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception] | None
) -> None:
    def submit(self: JobSubmissionClient, **_: Any) -> str:
        raise error

    monkeypatch.setattr(JobSubmissionClient, "__init__", lambda *_: None)
    monkeypatch.setattr(JobSubmissionClient, "submit_job", submit)
    backend = RayJobsBackend("http://ray.test", "python", 5)
    said = re.escape(str(error).splitlines()[-1])
    with pytest.raises(kind, match=said) if kind else nullcontext():
        await backend.submit(SUBMISSION)
    await backend.close()


async def test_an_idempotency_key_is_free_again_after_a_day(control: Plane) -> None:
    headers = await control.key("ada", "submit") | {"Idempotency-Key": "one"}

    async def submit() -> str:
        found: str = (await control.submit(headers))["id"]
        return found

    first = await submit()
    assert await submit() == first
    async with control.store.writes() as session:
        await session.execute(update(IdempotencyRow).values(created_at=now() - timedelta(days=1, minutes=1)))
    await control.tick()
    assert await submit() != first


async def test_the_stream_begins_with_the_last_lines(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    name = f"{job['id']}-a1"
    control.backend.text[name] = "".join(f"line {number}\n" for number in range(10))
    control.backend.set(name, RayStatus.SUCCEEDED)
    await control.tick()
    stream = f"/v1/jobs/{job['id']}/logs/stream"
    last = await control.client.get(stream, params={"tail": 2}, headers=ada)
    assert [line for line in last.text.splitlines() if "line" in line] == ["data: line 8", "data: line 9"]
    everything = await control.client.get(stream, params={"tail": 1000}, headers=ada)
    assert everything.text.count("data: line") == 10
    behind = await control.client.get(stream, params={"tail": 9}, headers=ada | {"Last-Event-ID": "1-63"})
    assert behind.text.count("data: line") == 1


async def test_a_reader_that_comes_right_after_a_resume_does_not_see_the_end_before_it(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.running(ada)
    control.backend.set(f"{job['id']}-a1", RayStatus.STOPPED)
    await control.tick()
    stream = f"/v1/jobs/{job['id']}/logs/stream"
    assert "event: end" in (await control.client.get(stream, headers=ada)).text
    assert (await control.client.post(f"/v1/jobs/{job['id']}/resume", headers=ada)).status_code == 202
    watch = control.app.state.services.watch
    first = await anext(watch.follow(job["id"], await watch.start(job["id"], None, None)))
    assert (first.event, first.data) == ("status", "validating")

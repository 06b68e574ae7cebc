"""Limits, probes, problems, and what is never written to a log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.unit.api.fake import Plane, plane
from trialign_api.limits import RateLimit
from trialign_api.problems import ApiError
from trialign_api.settings import Settings
from trialign_ray.errors import SpecError

pytestmark = pytest.mark.anyio


async def test_probes_need_no_key(control: Plane) -> None:
    assert (await control.client.get("/healthz")).json()["status"] == "ok"
    checks = {"database": "ok", "cluster": "ok"}
    assert (await control.client.get("/readyz")).json() == {"status": "ok", "checks": checks}


async def test_not_ready_without_the_database(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone() -> None:
        raise ConnectionError

    monkeypatch.setattr(control.store, "ping", gone)
    answer = await control.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


async def test_metrics_count_jobs_and_requests_by_route(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.job(ada, job["id"])
    text = (await control.client.get("/metrics")).text
    assert 'trialign_api_jobs{status="validating"} 1.0' in text
    assert 'trialign_api_requests_total{method="GET",route="/v1/jobs/{job_id}",status="200"} 1.0' in text
    assert job["id"] not in text


async def test_the_cluster_answers_also_when_it_is_away(control: Plane) -> None:
    ada = await control.key("ada", "read")
    here = (await control.client.get("/v1/cluster", headers=ada)).json()
    control.backend.down = True
    away = (await control.client.get("/v1/cluster", headers=ada)).json()
    assert (here["reachable"], here["nodes"], here["resources"]) == (True, 1, {"CPU": 2.0})
    assert (away["reachable"], away["nodes"]) == (False, None)


@pytest.mark.parametrize(
    ("address", "public", "link"),
    [
        ("http://127.0.0.1:8265", "", "http://127.0.0.1:8265"),
        ("http://localhost:8265", "", "http://localhost:8265"),
        ("http://trialign-head-svc:8265", "", None),
        ("http://127.0.0.1.evil.test", "", None),
        ("http://trialign-head-svc:8265", "https://ray.example.org", "https://ray.example.org"),
    ],
)
async def test_rays_dashboard_is_linked_where_browsers_reach_it(
    tmp_path: Path, address: str, public: str, link: str | None
) -> None:
    async with plane(tmp_path, dashboard_url=public) as control:
        ada = await control.key("ada", "read")
        for control.backend.dashboard, control.backend.down in ((address, False), (address, True)):
            assert (await control.client.get("/v1/cluster", headers=ada)).json()["dashboard"] == link


def test_only_an_address_of_the_web_is_the_dashboards() -> None:
    with pytest.raises(SpecError, match="dashboard_url"):
        Settings.from_env({"TRIALIGN_DASHBOARD_URL": "javascript:alert(1)"})


async def test_a_key_is_made_for_a_name_that_can_be_a_folders(control: Plane) -> None:
    with pytest.raises(SpecError, match=r"owner '\.\./bob'"):
        await control.key("../bob", "submit")


async def test_too_many_requests_of_one_key_are_refused_and_of_another_are_not(tmp_path: Path) -> None:
    async with plane(tmp_path, requests_per_second=0.001, request_burst=3) as control:
        ada, bob = await control.key("ada", "read"), await control.key("bob", "read")
        codes = [(await control.client.get("/v1/jobs", headers=ada)).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        answer = await control.client.get("/v1/jobs", headers=ada)
        assert (answer.json()["code"], int(answer.headers["retry-after"]) > 0) == ("rate_limited", True)
        assert (await control.client.get("/v1/jobs", headers=bob)).status_code == 200


def test_tokens_come_back_with_time() -> None:
    clock = [0.0]
    limit = RateLimit(rate=2, burst=2, clock=lambda: clock[0])
    limit.spend("k")
    limit.spend("k")
    with pytest.raises(ApiError):
        limit.spend("k")
    clock[0] = 0.5
    limit.spend("k")
    with pytest.raises(ApiError):
        limit.spend("k")


async def test_a_body_that_is_too_long_is_refused_whether_or_not_it_says_so(tmp_path: Path) -> None:
    async with plane(tmp_path, body_bytes=2048, upload_bytes=4096) as control:
        ada = await control.key("ada", "submit")

        async def drip(size: int):
            for _ in range(size // 1024):
                yield b" " * 1024

        declared = await control.client.post("/v1/jobs", content=b" " * 4000, headers=ada)
        silent = await control.client.post("/v1/jobs", content=drip(8192), headers=ada)
        upload = await control.client.post("/v1/datasets?name=x", content=drip(8192), headers=ada)
        for answer in (declared, silent, upload):
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert list((control.settings.data / "datasets").iterdir()) == []


async def test_unknown_routes_methods_and_bodies_are_problems(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    answers = [
        (await control.client.get("/v1/nothing", headers=ada), 404, "not_found"),
        (await control.client.delete("/v1/jobs", headers=ada), 405, "method_not_allowed"),
        (await control.client.get("/v1/jobs/job-1", headers=ada), 422, "bad_request"),
        (await control.client.post("/v1/jobs", content=b"{", headers=ada), 422, "bad_request"),
    ]
    for answer, status, code in answers:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_crash_is_a_problem_without_its_cause(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(control.backend, "cluster", crash)
    answer = await control.client.get("/v1/cluster", headers=await control.key("ada", "read"))
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert "secret detail" not in answer.text


async def test_no_key_is_ever_logged(control: Plane, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ada = await control.key("ada", "submit")
    await control.submit(ada)
    await control.client.get("/v1/jobs", params={"owner": "ada"}, headers=ada)
    await control.client.get("/v1/jobs", headers={"Authorization": ada["Authorization"] + "0"})
    secret = ada["Authorization"].rpartition("_")[2]
    assert "POST /v1/jobs 201" in caplog.text
    assert secret not in caplog.text


def test_settings_come_from_the_environment_and_say_what_is_wrong() -> None:
    env = {"TRIALIGN_ROOTS": "/a,/b", "TRIALIGN_RETRIES": "5", "TRIALIGN_IMPORT_EXTERNAL": "false"}
    found = Settings.from_env(env, data=Path("/d"))
    assert (found.roots, found.retries, found.import_external) == (("/a", "/b"), 5, False)
    assert found.database_url == "sqlite+aiosqlite:////d/control.db"
    with pytest.raises(SpecError, match="retries"):
        Settings.from_env({"TRIALIGN_RETRIES": "many"})

"""Who may do and see what."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.unit.api.fake import Plane
from trialign_api.auth import Principal
from trialign_api.store import records
from trialign_api.store.models import ApiKey

pytestmark = pytest.mark.anyio
BODY = {"spec": {"kind": "tiny", "name": "one"}}


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer nonsense", "Basic abc", "Bearer tk_" + "0" * 12 + "_" + "0" * 64]
)
async def test_without_a_valid_key_nothing_is_answered(control: Plane, header: str | None) -> None:
    answer = await control.client.get("/v1/jobs", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_is_stored_only_as_a_hash(control: Plane) -> None:
    secret = (await control.key("ada", "read"))["Authorization"].rpartition("_")[2]
    async with control.store.reads() as session:
        [row] = (await session.scalars(select(ApiKey))).all()
    stored = " ".join(str(getattr(row, column.name)) for column in ApiKey.__table__.columns)
    assert secret not in stored


async def test_a_revoked_key_is_no_key(control: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await control.key("ada", "read")
    assert (await control.client.get("/v1/jobs", headers=ada)).status_code == 200
    async with control.store.writes() as session:
        await records.revoke(session, ada["Authorization"].split("_")[1])
    assert (await control.client.post("/v1/jobs", json={}, headers=ada)).status_code == 401
    monkeypatch.setattr("trialign_api.auth._FRESH_SECONDS", 0.0)
    assert (await control.client.get("/v1/jobs", headers=ada)).status_code == 401


async def test_a_reader_cannot_submit(control: Plane) -> None:
    reader = await control.key("ada", "read")
    answer = await control.client.post("/v1/jobs", json=BODY, headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_only_an_admin_reads_the_audit_which_names_who_changed_what(control: Plane) -> None:
    ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
    job = await control.submit(ada)
    assert (await control.client.get("/v1/audit", headers=ada)).status_code == 403
    [entry] = (await control.client.get("/v1/audit", headers=admin)).json()["data"]
    assert (entry["owner"], entry["action"], entry["target"]) == ("ada", "POST /v1/jobs", job["id"])


async def test_the_jobs_of_others_do_not_exist(control: Plane) -> None:
    ada, bob = await control.key("ada", "submit"), await control.key("bob", "submit")
    job = await control.submit(ada)
    path = f"/v1/jobs/{job['id']}"
    reads = ["", "/events", "/metrics", "/groups", "/logs", "/logs/stream", "/checkpoints", "/report", "/artifacts"]
    for tail in [*reads, "/artifacts/spec.json"]:
        assert (await control.client.get(path + tail, headers=bob)).status_code == 404, tail
    for action in ("cancel", "resume", "retry"):
        assert (await control.client.post(f"{path}/{action}", headers=bob)).status_code == 404, action
    assert (await control.client.get("/v1/jobs", headers=bob)).json()["data"] == []
    assert (await control.client.get("/v1/jobs", params={"owner": "ada"}, headers=bob)).json()["data"] == []


async def test_an_admin_sees_every_job(control: Plane) -> None:
    ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
    job = await control.submit(ada)
    assert (await control.job(admin, job["id"]))["owner"] == "ada"
    mine = (await control.client.get("/v1/jobs", params={"owner": "ada"}, headers=admin)).json()["data"]
    assert [one["id"] for one in mine] == [job["id"]]


def test_each_scope_includes_those_before_it() -> None:
    submit = Principal("ada", "k", frozenset({"submit"}))
    assert (submit.may("read"), submit.may("submit"), submit.may("admin")) == (True, True, False)
    assert not Principal("ada", "k", frozenset()).may("read")

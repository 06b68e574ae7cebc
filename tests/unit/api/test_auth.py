"""Who may do and see what."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.api.fake import Plane, plane
from trialign_api.auth import Principal, Scope, network
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


@pytest.mark.parametrize(("scope", "held"), [("read", 1), ("submit", 2), ("admin", 3)])
async def test_a_key_says_whose_it_is_and_what_it_may(control: Plane, scope: Scope, held: int) -> None:
    ada = await control.key("ada", scope)
    told = (await control.client.get("/v1/me", headers=ada)).json()
    assert (told["owner"], told["scopes"]) == ("ada", ["read", "submit", "admin"][:held])
    assert told["key_id"] == ada["Authorization"].split("_")[1]


async def test_only_an_admin_lists_the_keys_and_none_shows_its_secret(control: Plane) -> None:
    ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
    assert (await control.client.get("/v1/keys", headers=ada)).status_code == 403
    answer = await control.client.get("/v1/keys", headers=admin)
    assert [(key["owner"], key["scopes"]) for key in answer.json()["data"]] == [
        ("ada", ["submit"]),
        ("root", ["admin"]),
    ]
    assert ada["Authorization"].rpartition("_")[2] not in answer.text


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


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the keys that the database was asked for."""
    found: list[str] = []
    real = records.api_key

    async def asked(session: AsyncSession, key_id: str) -> ApiKey | None:
        found.append(key_id)
        return await real(session, key_id)

    monkeypatch.setattr(records, "api_key", asked)
    return found


def made_up(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer tk_{number:012x}_{number:064x}"}


async def test_made_up_keys_of_one_address_cost_no_more_look_ups_than_the_limit(
    tmp_path: Path, look_ups: list[str]
) -> None:
    async with plane(tmp_path, requests_per_second=0.001, request_burst=3) as control:
        codes = [(await control.client.get("/v1/jobs", headers=made_up(n))).status_code for n in range(20)]
    assert codes == [401] * 3 + [429] * 17
    assert len(look_ups) == 3


async def test_without_a_whole_key_the_database_is_not_asked_and_nothing_is_spent(
    tmp_path: Path, look_ups: list[str]
) -> None:
    async with plane(tmp_path, requests_per_second=0.001, request_burst=1) as control:
        headers = [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic abc"}]
        codes = [(await control.client.get("/v1/jobs", headers=given)).status_code for given in headers]
        assert (codes, look_ups) == ([401] * 3, [])
        assert (await control.client.get("/v1/jobs", headers=made_up(1))).status_code == 401


async def test_valid_keys_of_one_address_are_limited_each_on_its_own(tmp_path: Path) -> None:
    """Behind a proxy all clients have one address; and who guesses keys there shuts out no client that is known."""
    async with plane(tmp_path, requests_per_second=0.001, request_burst=3) as control:
        keys = [await control.key(f"owner{number}", "read") for number in range(6)]
        for auth in keys:
            assert (await control.client.get("/v1/jobs", headers=auth)).status_code == 200
        for number in range(5):
            await control.client.get("/v1/jobs", headers=made_up(number))
        assert [(await control.client.get("/v1/jobs", headers=keys[0])).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]


async def test_a_key_that_was_revoked_is_limited_by_its_address(
    tmp_path: Path, look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialign_api.auth._FRESH_SECONDS", 0.0)
    async with plane(tmp_path, requests_per_second=0.001, request_burst=3) as control:
        ada = await control.key("ada", "read")
        await control.client.get("/v1/jobs", headers=ada)
        async with control.store.writes() as session:
            await records.revoke(session, ada["Authorization"].split("_")[1])
        codes = [(await control.client.get("/v1/jobs", headers=ada)).status_code for _ in range(6)]
    assert codes == [401] * 4 + [429] * 2


def test_a_client_has_one_limit_for_its_whole_ipv6_network() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:2") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("") == ""

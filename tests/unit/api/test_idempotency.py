"""A request that is sent twice is done once."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.api.fake import Plane

pytestmark = pytest.mark.anyio
BODY = {"spec": {"kind": "tiny", "name": "one"}}


async def test_the_same_key_and_body_make_one_job_and_one_answer(control: Plane) -> None:
    ada = await control.key("ada", "submit") | {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(control.client.post("/v1/jobs", json=BODY, headers=ada) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7
    assert len((await control.client.get("/v1/jobs", headers=ada)).json()["data"]) == 1


async def test_the_same_key_with_another_body_is_refused(control: Plane) -> None:
    ada = await control.key("ada", "submit") | {"Idempotency-Key": "k1"}
    await control.client.post("/v1/jobs", json=BODY, headers=ada)
    other = {"spec": {"kind": "tiny", "name": "two"}}
    answer = await control.client.post("/v1/jobs", json=other, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


async def test_keys_of_two_owners_do_not_meet(control: Plane) -> None:
    made = []
    for owner in ("ada", "bob"):
        auth = await control.key(owner, "submit") | {"Idempotency-Key": "k1"}
        made.append((await control.client.post("/v1/jobs", json=BODY, headers=auth)).json())
    assert [job["owner"] for job in made] == ["ada", "bob"]
    assert made[0]["id"] != made[1]["id"]


async def test_a_refused_request_does_not_use_its_key_up(control: Plane) -> None:
    ada = await control.key("ada", "submit") | {"Idempotency-Key": "k1"}
    bad = await control.client.post("/v1/jobs", json={"spec": {"kind": "tiny"}}, headers=ada)
    good = await control.client.post("/v1/jobs", json=BODY, headers=ada)
    assert (bad.status_code, good.status_code) == (422, 201)


async def test_retry_with_a_key_makes_one_new_job(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    keyed = ada | {"Idempotency-Key": "again"}
    first = await control.client.post(f"/v1/jobs/{job['id']}/retry", headers=keyed)
    second = await control.client.post(f"/v1/jobs/{job['id']}/retry", headers=keyed)
    assert first.json()["id"] == second.json()["id"]
    assert len((await control.client.get("/v1/jobs", headers=ada)).json()["data"]) == 2

"""One rule for text: what cannot be stored is refused, and what is stored anyway breaks no list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select, text, update

from tests.unit.api.fake import Plane
from trialign_api.store import jobs as rows
from trialign_api.store.engine import Store
from trialign_api.store.jobs import Filter, NewEvent
from trialign_api.store.models import Event, Job, now
from trialign_api.text import DEEPEST, clean, faults, loads, storable

pytestmark = pytest.mark.anyio
AUDIT = '{"spec": {"kind": "audit", "name": "x", "questions": "q.json", "groups": "g.yaml", "model": "m", %s}}'
NESTED = "[" * 900 + "]" * 900


def test_what_utf8_holds_stays_and_the_rest_is_replaced() -> None:
    assert storable("Zoë 🌍") == "Zoë 🌍"
    assert storable("a\ud800b\0c\ud83c\udf0d") == "a\ufffdbc🌍"
    assert clean({"a\0": ["\ud800", float("nan"), 1.5]}) == {"a": ["\ufffd", None, 1.5]}
    assert loads(b'["\\u0000x\\ud800", NaN, "\\u00e9"]') == ["x\ufffd", None, "é"]
    for huge in ("1e400", "-1E+400", "9" * 400 + ".0"):
        assert loads(f'{{"loss": {huge}, "epoch": 1e2}}') == {"loss": None, "epoch": 100.0}


def test_each_fault_is_told_where_it_is_and_no_depth_overflows() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    found = dict(faults({"a": ["ok", "\ud800"], "b": float("inf"), "c": deep, "d": {"\0": 1}}))
    assert [len(pointer) for pointer in found] == [2, 1, DEEPEST + 1, 1]
    assert {("a", 1), ("b",), ("d",)} < set(found)


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        (r'"fail_if": ["\ud800"]', "/body/spec/fail_if/0"),
        (r'"fail_if": ["\u0000"]', "/body/spec/fail_if/0"),
        (r'"\ud800": 1', "/body/spec"),
        (r'"samples": NaN', "/body/spec/samples"),
        (f'"fail_if": {NESTED}', "/body/spec/fail_if" + "/0" * (DEEPEST - 1)),
    ],
)
async def test_a_body_that_breaks_the_rule_is_refused_with_a_pointer(control: Plane, field: str, pointer: str) -> None:
    ada = await control.key("ada", "submit") | {"Content-Type": "application/json"}
    for path in ("/v1/jobs", "/v1/jobs:validate"):
        answer = await control.client.post(path, content=AUDIT % field, headers=ada)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text
    listed = await control.client.get("/v1/jobs", headers=ada)
    assert (listed.status_code, listed.json()["data"]) == (200, [])


async def test_a_row_that_was_stored_broken_can_be_listed_and_read(control: Plane) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada)
    broken = json.dumps({"kind": "tiny", "name": "\ud800\0", "at": float("nan")})
    async with control.store.writes() as session:
        await session.execute(
            text("UPDATE jobs SET spec = :broken, log_tail = :tail"), {"broken": broken, "tail": "[NaN]"}
        )
    listed = await control.client.get("/v1/jobs", headers=ada)
    assert (listed.status_code, listed.json()["data"][0]["spec"]["name"]) == (200, "\ufffd")
    assert (await control.client.get(f"/v1/jobs/{job['id']}", headers=ada)).status_code == 200


async def test_every_database_takes_what_a_job_wrote_whatever_it_is(store: Store) -> None:
    odd = "last line \ud800\0"
    async with store.writes() as session:
        job = Job(
            id="job-1", kind="tiny", name=odd, owner="ada", status="running", spec={odd: odd}, effective={"x": odd},
            labels={}, attempt=1, resume=False, retries=0, retries_used=0, created_at=now(), updated_at=now(),
            events=0, version=1,
        )  # fmt: skip
        await rows.add(session, job, NewEvent("created", odd, {"odd": [odd, float("inf")]}))
        await session.execute(update(Job).values(error_message=odd, log_tail=[odd]))
    async with store.reads() as session:
        [found] = await rows.find(session, Filter(), after=None, limit=10)
        [event] = await session.scalars(select(Event))
    assert found.name == found.error_message == event.message == "last line \ufffd"
    assert (found.log_tail, event.data) == (["last line \ufffd"], {"odd": ["last line \ufffd", None]})

"""What the database promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from trialign_api.ids import new_job_id, submission_id
from trialign_api.states import MOVES, Status
from trialign_api.store import jobs as rows
from trialign_api.store import records
from trialign_api.store.engine import Store
from trialign_api.store.jobs import Filter, IllegalMoveError, NewEvent, StaleJobError
from trialign_api.store.models import IdempotencyRow, Job, now

pytestmark = pytest.mark.anyio


def job(**changes: Any) -> Job:
    given = {
        "id": new_job_id(), "kind": "tiny", "name": "one", "owner": "ada", "status": "validating", "spec": {"a": 1},
        "effective": {}, "labels": {}, "retries": 1, "attempt": 1, "resume": False, "retries_used": 0,
        "created_at": now(), "updated_at": now(), "events": 0, "version": 1,
    }  # fmt: skip
    return Job(**{**given, **changes})


async def add(store: Store, **changes: Any) -> Job:
    made = job(**changes)
    async with store.writes() as session:
        await rows.add(session, made, NewEvent("created", "It is new."))
    return made


async def read(store: Store, job_id: str) -> Job:
    async with store.reads() as session:
        found = await rows.get(session, job_id)
    assert found is not None
    return found


async def test_a_job_comes_back_as_it_was_stored(store: Store) -> None:
    made = await add(store, labels={"team": "x"}, spec={"deep": [1, {"b": None}]})
    found = await read(store, made.id)
    assert (found.spec, found.labels, found.status) == ({"deep": [1, {"b": None}]}, {"team": "x"}, "validating")
    assert abs((found.created_at - made.created_at).total_seconds()) < 1e-5


async def test_every_change_is_one_event_and_events_are_numbered_without_gaps(store: Store) -> None:
    made = await add(store)
    for status in (Status.QUEUED, Status.STARTING, Status.RUNNING, Status.SUCCEEDED):
        async with store.writes() as session:
            await rows.change(session, made, NewEvent(status.value, "Moves on."), status)
    async with store.reads() as session:
        events = await rows.events_of(session, made.id, after=0, limit=100)
    assert [(event.seq, event.type) for event in events] == [
        (1, "created"), (2, "queued"), (3, "starting"), (4, "running"), (5, "succeeded"),
    ]  # fmt: skip


@pytest.mark.parametrize("status", list(Status))
async def test_only_the_moves_of_the_state_machine_are_possible(store: Store, status: Status) -> None:
    for to in Status:
        made = await add(store, status=status.value)
        if to in MOVES[status]:
            async with store.writes() as session:
                await rows.change(session, made, NewEvent("move", ""), to)
            assert (await read(store, made.id)).status == to.value
        else:
            with pytest.raises(IllegalMoveError):
                async with store.writes() as session:
                    await rows.change(session, made, NewEvent("move", ""), to)
            assert (await read(store, made.id)).status == status.value


async def test_of_two_writers_who_read_the_same_version_one_fails(store: Store) -> None:
    made = await add(store)
    first, second = await read(store, made.id), await read(store, made.id)

    async def move(seen: Job, to: Status) -> str:
        try:
            async with store.writes() as session:
                await rows.change(session, seen, NewEvent("move", ""), to)
        except StaleJobError:
            return "stale"
        return "moved"

    outcomes = await asyncio.gather(move(first, Status.QUEUED), move(second, Status.CANCELLED))
    assert sorted(outcomes) == ["moved", "stale"]
    async with store.reads() as session:
        assert len(await rows.events_of(session, made.id, after=0, limit=10)) == 2


async def test_a_failed_transaction_leaves_neither_row_nor_event(store: Store) -> None:
    made = job()

    async def fail_late() -> None:
        async with store.writes() as session:
            await rows.add(session, made, NewEvent("created", ""))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_late()
    async with store.reads() as session:
        assert await rows.get(session, made.id) is None
        assert not await rows.events_of(session, made.id, after=0, limit=10)


@pytest.mark.parametrize("statement", ["UPDATE events SET message = 'x'", "DELETE FROM events"])
async def test_events_can_be_neither_changed_nor_deleted(store: Store, statement: str) -> None:
    made = await add(store)
    with pytest.raises(DBAPIError, match="append-only"):
        async with store.writes() as session:
            await session.execute(text(statement))
    async with store.reads() as session:
        events = await rows.events_of(session, made.id, after=0, limit=10)
    assert [event.message for event in events] == ["It is new."]


async def test_two_jobs_cannot_have_one_submission(store: Store) -> None:
    name = submission_id(new_job_id(), 1)
    await add(store, submission_id=name)
    with pytest.raises(DBAPIError):
        await add(store, submission_id=name)


async def test_pages_by_cursor_hold_every_job_once_the_newest_first(store: Store) -> None:
    made = [(await add(store, id=f"job-{number:028x}")).id for number in range(7)]
    found, after = [], None
    while True:
        async with store.reads() as session:
            page = await rows.find(session, Filter(), after=after, limit=3)
        if not page:
            break
        found += [one.id for one in page]
        after = page[-1].id
    assert found == made[::-1]


async def test_filters_select_what_they_say(store: Store) -> None:
    mine = await add(store, labels={"team": "x", "run": "1"})
    other = await add(store, owner="bob", status="running", labels={"team": "y"})

    async def ids(wanted: Filter) -> set[str]:
        async with store.reads() as session:
            return {one.id for one in await rows.find(session, wanted, after=None, limit=10)}

    assert await ids(Filter(owner="ada")) == {mine.id}
    assert await ids(Filter(statuses=(Status.RUNNING, Status.FAILED))) == {other.id}
    assert await ids(Filter(labels=(("team", "x"), ("run", "1")))) == {mine.id}
    assert await ids(Filter(labels=(("team", "x"), ("run", "2")))) == set()
    assert await ids(Filter(created_after=other.created_at)) == {other.id}
    assert await ids(Filter(created_before=other.created_at)) == {mine.id}
    assert await ids(Filter(kind="tiny")) == {mine.id, other.id}


async def test_a_lease_has_one_holder_until_it_ends(store: Store) -> None:
    async def take(holder: str, seconds: float) -> bool:
        async with store.writes() as session:
            return await records.take_lease(session, "work", holder, seconds)

    taken = await asyncio.gather(*(take(f"process-{n}", 30) for n in range(5)))
    assert sum(taken) == 1
    winner = f"process-{taken.index(True)}"
    assert await take(winner, 0.05)
    await asyncio.sleep(0.06)
    assert await take("process-next", 30)
    assert not await take(winner, 30)


async def test_of_concurrent_inserts_of_one_key_one_happens(store: Store) -> None:
    values = {"owner": "ada", "route": "POST /v1/jobs", "key": "k", "fingerprint": "f", "status": 0, "body": {}}

    async def claim() -> bool:
        async with store.writes() as session:
            return await records.insert_once(session, IdempotencyRow, {**values, "created_at": now()})

    assert sum(await asyncio.gather(*(claim() for _ in range(8)))) == 1


async def test_migrating_twice_is_migrating_once(store: Store) -> None:
    from trialign_api.store.migrate import upgrade

    made = await add(store)
    await asyncio.to_thread(upgrade, store.url)
    assert (await read(store, made.id)).id == made.id

"""Storage that does not answer: a path is resolved on a thread, and never while a transaction is open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.api.fake import Plane
from tests.unit.api.test_datasets import lines, upload
from tests.unit.data.samples import row
from trialign_api.backend import RayStatus, Record
from trialign_api.store.engine import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """Of each path that is resolved: whether on the event loop's thread, and how many transactions are open."""
    found: list[tuple[bool, int]] = []
    loop_thread, open_transactions = threading.get_ident(), [0]

    def counted(real: Any) -> Any:
        @asynccontextmanager
        async def transaction(store: Store) -> AsyncIterator[AsyncSession]:
            open_transactions[0] += 1
            try:
                async with real(store) as session:
                    yield session
            finally:
                open_transactions[0] -= 1

        return transaction

    resolve = Path.resolve

    def noted(path: Path, strict: bool = False) -> Path:
        found.append((threading.get_ident() == loop_thread, open_transactions[0]))
        return resolve(path, strict)

    for name in ("reads", "writes"):
        monkeypatch.setattr(Store, name, counted(getattr(Store, name)))
    monkeypatch.setattr(Path, "resolve", noted)
    return found


def only_on_threads(resolved: list[tuple[bool, int]]) -> bool:
    return bool(resolved) and set(resolved) == {(False, 0)}


async def test_submission_and_dry_run_resolve_paths_on_a_thread_outside_of_transactions(
    control: Plane, resolved: list[tuple[bool, int]]
) -> None:
    ada = await control.key("ada", "submit")
    await control.submit(ada, spec={"input": "models/m"})
    assert only_on_threads(resolved)
    resolved.clear()
    body = {"spec": {"kind": "tiny", "name": "x", "input": "models/m"}}
    assert (await control.client.post("/v1/jobs:validate", json=body, headers=ada)).status_code == 200
    assert only_on_threads(resolved)


@pytest.mark.parametrize("action", ["resume", "retry"])
async def test_resume_and_retry_resolve_paths_on_a_thread_outside_of_transactions(
    control: Plane, resolved: list[tuple[bool, int]], action: str
) -> None:
    ada = await control.key("ada", "submit")
    job = await control.submit(ada, spec={"input": "models/m"})
    await control.client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada)
    resolved.clear()
    assert (await control.client.post(f"/v1/jobs/{job['id']}/{action}", headers=ada)).is_success
    assert only_on_threads(resolved)


async def test_an_imported_jobs_run_is_resolved_on_a_thread(control: Plane, resolved: list[tuple[bool, int]]) -> None:
    control.backend.records["stranger"] = Record("stranger", RayStatus.RUNNING)
    control.backend.text["stranger"] = f"run: {control.settings.workspace}/runs/x\n"
    await control.tick()
    resolved.clear()
    await control.tick(2)
    assert only_on_threads(resolved)


async def test_an_upload_resolves_no_path_within_a_transaction(
    control: Plane, resolved: list[tuple[bool, int]]
) -> None:
    ada = await control.key("ada", "submit")
    resolved.clear()
    assert (await upload(control, ada, lines(row()))).status_code == 201
    assert not [entry for entry in resolved if entry != (False, 0)]


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Paths with 'hung' in them are not resolved before the event, or for 5 s."""
    back, resolve = threading.Event(), Path.resolve

    def slow(path: Path, strict: bool = False) -> Path:
        if "hung" in path.parts:
            back.wait(5)
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", slow)
    yield back
    back.set()


async def test_a_path_that_hangs_keeps_no_other_submission_waiting_and_is_answered_503(
    control: Plane, hung: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await control.key("ada", "submit")
    ended: list[str] = []

    async def submit(name: str, path: str) -> Any:
        body = {"spec": {"kind": "tiny", "name": name, "input": path}}
        answer = await control.client.post("/v1/jobs", json=body, headers=ada)
        ended.append(name)
        return answer

    waiting = asyncio.create_task(submit("odd", "hung/m"))
    await asyncio.sleep(0)
    assert (await submit("well", "models/m")).status_code == 201
    assert ended == ["well"]
    hung.set()
    assert (await waiting).status_code == 201
    hung.clear()
    monkeypatch.setattr("trialign_api.threads._SECONDS", 0.05)
    answer = await submit("odd", "hung/m")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

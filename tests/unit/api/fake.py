"""An in-memory backend, tiny kinds of job, and the application on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from tests.unit.api.tiny import TinySpec, check_tiny
from trialign_api.app import create_app
from trialign_api.auth import Scope, create_key
from trialign_api.backend import ClusterState, RayStatus, Record, Submission
from trialign_api.kinds import KINDS, ServedKind
from trialign_api.settings import Settings
from trialign_ray.errors import ClusterError

TINY: dict[str, ServedKind] = {
    **KINDS,
    "tiny": ServedKind(
        TinySpec, "", reads=("input",), writes=("runs",), run_folder=True, module="tiny", check=check_tiny
    ),
}


@dataclass
class FakeBackend:
    """Remembers submissions; a test says what becomes of them."""

    dashboard: str = "http://ray.test"
    records: dict[str, Record] = field(default_factory=dict)
    submissions: list[Submission] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    text: dict[str, str] = field(default_factory=dict)
    down: bool = False
    silent: bool = False
    """Gives no logs."""
    slow: float = 0.0
    """Seconds until it gives a log."""

    async def submit(self, submission: Submission) -> None:
        self._answer()
        self.submissions.append(submission)
        if submission.submission_id in self.records:
            return
        self.records[submission.submission_id] = Record(
            submission.submission_id, RayStatus.PENDING, metadata=submission.metadata, entrypoint=submission.module
        )

    async def list(self) -> list[Record]:
        self._answer()
        return list(self.records.values())

    async def stop(self, submission_id: str) -> None:
        self._answer()
        self.stopped.append(submission_id)
        if submission_id in self.records and not self.records[submission_id].status.ended:
            self.set(submission_id, RayStatus.STOPPED)

    async def logs(self, submission_id: str) -> str:
        self._answer()
        await asyncio.sleep(self.slow)
        if self.silent:
            raise ClusterError("Ray gives no logs.")
        return self.text.get(submission_id, "")

    async def cluster(self) -> ClusterState:
        self._answer()
        return ClusterState("2.60.0", 1, {"CPU": 2.0})

    async def close(self) -> None:
        pass

    def set(self, submission_id: str, status: RayStatus, **changes: Any) -> None:
        moment = datetime.now(UTC)
        changes = {"started_at": moment, "ended_at": moment if status.ended else None, **changes}
        self.records[submission_id] = replace(self.records[submission_id], status=status, **changes)

    def _answer(self) -> None:
        if self.down:
            raise ClusterError("Ray is away.")


@dataclass
class Plane:
    """The application in this process, its backend, and a client for each scope."""

    app: FastAPI
    backend: FakeBackend
    client: httpx.AsyncClient
    settings: Settings

    @property
    def store(self) -> Any:
        return self.app.state.services.store

    async def key(self, owner: str, *scopes: Scope) -> dict[str, str]:
        async with self.store.writes() as session:
            return {"Authorization": f"Bearer {await create_key(session, owner, frozenset(scopes))}"}

    async def tick(self, rounds: int = 1) -> None:
        """Rounds of the reconciler, each with the checks that it started."""
        for _ in range(rounds):
            await self.app.state.reconciler.tick()
            await self.app.state.reconciler.settle()

    async def rounds_until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Rounds, with time between them, until `done`; fails after 200."""
        for _ in range(200):
            await self.tick()
            if await done():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it did not come to that in 200 rounds")

    async def submit(self, auth: dict[str, str], name: str = "one", **body: Any) -> Any:
        spec = {"kind": "tiny", "name": name, **body.pop("spec", {})}
        answer = await self.client.post("/v1/jobs", json={"spec": spec, **body}, headers=auth)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def job(self, auth: dict[str, str], job_id: str) -> Any:
        return (await self.client.get(f"/v1/jobs/{job_id}", headers=auth)).json()

    async def events(self, auth: dict[str, str], job_id: str) -> Any:
        return (await self.client.get(f"/v1/jobs/{job_id}/events", headers=auth)).json()["data"]

    async def told(self, auth: dict[str, str], job_id: str) -> list[str]:
        """Types of a job's events."""
        return [event["type"] for event in await self.events(auth, job_id)]

    async def run(self, auth: dict[str, str], job_id: str) -> Any:
        """Bring a new job to `running`; the job."""
        await self.tick(2)
        job = await self.job(auth, job_id)
        self.backend.set(job["submission_id"], RayStatus.RUNNING)
        await self.tick()
        return await self.job(auth, job_id)

    async def running(self, auth: dict[str, str], **changes: Any) -> Any:
        """A new job that Ray runs."""
        job = await self.submit(auth, **changes)
        return await self.run(auth, job["id"])


async def eventually(done: Callable[[], bool]) -> None:
    """Wait for what a task beside the test does; fails after a minute."""
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.05)


def settings_for(folder: Path, **changes: Any) -> Settings:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    given = {"data": folder / "data", "workspace": str(workspace), "requests_per_second": 1e6, "request_burst": 10**6}
    given |= {"retry_seconds": 0}
    return Settings.model_validate({**given, **changes})


@asynccontextmanager
async def plane(folder: Path, backend: FakeBackend | None = None, **changes: Any) -> AsyncIterator[Plane]:
    """The application, its lifespan running, without a background loop: tests call `tick`."""
    settings, backend = settings_for(folder, **changes), backend or FakeBackend()
    app = create_app(settings, kinds=TINY, backend=backend, reconcile=False)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://plane.test") as client,
    ):
        yield Plane(app, backend, client, settings)

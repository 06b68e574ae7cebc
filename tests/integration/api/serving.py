"""The control plane in a process of its own, on a real Ray, with the tests' kind of job."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import httpx
import uvicorn

from tests.integration.api.tiny_job import CountSpec
from trialign_api.app import create_app
from trialign_api.client import Client
from trialign_api.kinds import KINDS, ServedKind
from trialign_api.schemas import JobOut
from trialign_api.settings import Settings
from trialign_api.states import ENDED

T = TypeVar("T")
MODULE = "tests.integration.api.tiny_job"
COUNT = {**KINDS, "count": ServedKind(CountSpec, "", writes=("runs",), run_folder=True, module=MODULE)}
SECONDS = 400.0
"""Most that anything takes, on a machine that does other things too."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.integration.api.serving"])


@dataclass
class Server:
    """The service in a process of its own, forked from one that has imported it: a start takes no second."""

    settings: Settings
    port: int
    key: str
    process: BaseProcess | None = field(default=None)

    def start(self) -> None:
        self.process = _FORKS.Process(target=serve, args=(self.settings, self.port))
        self.process.start()
        wait_for(self._answers)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
            self.process.join(SECONDS)

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", self.key)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.is_alive(), "the server died"
        return ready(f"http://127.0.0.1:{self.port}")


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def ended(client: Client, job_id: str, seconds: float = SECONDS) -> JobOut:
    def look() -> JobOut | None:
        job = client.job(job_id)
        return job if job.status in ENDED else None

    return wait_for(look, seconds)


def told(client: Client, job_id: str) -> list[str]:
    """Types of a job's events."""
    return [event.type for event in client.events(job_id)]


def wait_for(found: Callable[[], T | None], seconds: float = SECONDS) -> T:
    """The first true answer; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def serve(settings: Settings, port: int) -> None:
    uvicorn.run(create_app(settings, kinds=COUNT), port=port, log_level="warning")


def key_of(settings: Settings) -> str:
    """A migrated database and an admin's key."""
    import asyncio

    from trialign_api.store.migrate import upgrade
    from trialign_ray.cli.store import create_key

    upgrade(settings.database_url)
    return asyncio.run(create_key(settings, "ada", "admin"))


def repository() -> Path:
    return Path(__file__).parents[3]

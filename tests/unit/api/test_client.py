"""The typed client against the application in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from api.client import Client, RefusedError, parse_events
from tests.unit.api.fake import plane
from trialign_ray.errors import ClusterError

T = TypeVar("T")


class InProcess(httpx.BaseTransport):
    """Requests of a blocking client, answered by the application on a loop of this test's own."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._context = plane(folder)
        self.plane = self._runner.run(self._context.__aenter__())
        self.failures = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._runner.run(self._send(request))
        if self.failures:
            self.failures -= 1
            raise httpx.ReadError("the answer was lost")
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def close(self) -> None:
        self._runner.run(self._context.__aexit__(None, None, None))
        self._runner.close()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        return await self.plane.client.send(sent)


@pytest.fixture
def service(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path)


@pytest.fixture
def client(service: InProcess) -> Iterator[Client]:
    key = service.run(service.plane.key("ada", "submit"))["Authorization"].removeprefix("Bearer ")
    with Client("http://plane.test", key, transport=service) as found:
        yield found


def test_submit_find_cancel_resume(client: Client) -> None:
    job = client.submit({"kind": "tiny", "name": "one"}, labels={"team": "x"}, retries=0)
    assert client.job(job.id) == job
    assert [one.id for one in client.jobs(label="team:x")] == [job.id]
    assert client.cancel(job.id).status == "cancelled"
    assert client.resume(job.id).status == "queued"
    assert [event.type for event in client.events(job.id)][-1] == "resume_requested"


def test_a_lost_answer_submits_no_second_job(client: Client, service: InProcess) -> None:
    service.failures = 1
    job = client.submit({"kind": "tiny", "name": "one"})
    assert [one.id for one in client.jobs()] == [job.id]


def test_a_refusal_names_the_field(client: Client) -> None:
    with pytest.raises(RefusedError, match="/body/spec/name") as caught:
        client.submit({"kind": "tiny"})
    assert caught.value.problem.code == "bad_spec"


def test_no_service_is_said_plainly() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with (
        Client("http://plane.test", "k", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ClusterError, match="trialign serve"),
    ):
        client.cluster()


def test_events_of_a_stream_are_parsed() -> None:
    lines = ["event: log", "id: 1-4", "data: one", "data: two", "", ": ping", "", "event: end", "data: succeeded", ""]
    assert list(parse_events(iter(lines))) == [("log", "one\ntwo", "1-4"), ("end", "succeeded", None)]

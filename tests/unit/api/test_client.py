"""The typed client against the application in this process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx
import pytest

from tests.unit.api.fake import plane
from trialign_api.client import Client, RefusedError
from trialign_api.problems import ApiError
from trialign_api.schemas import EventOut, Page
from trialign_api.services.archive import ByteSource
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
    assert client.resume(job.id).status == "validating"
    assert [event.type for event in client.events(job.id)][-1] == "resume_requested"


def test_a_lost_answer_submits_no_second_job(client: Client, service: InProcess) -> None:
    service.failures = 1
    job = client.submit({"kind": "tiny", "name": "one"})
    assert [one.id for one in client.jobs()] == [job.id]


def test_an_upload_with_equal_parts_goes_on_where_it_broke_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is a part of its own, and is sent once."""
    monkeypatch.setattr("trialign_api.client._PART_BYTES", 64)
    data = b"groups: [{name: neutral}, {name: farmer}]\n" + b"\n" * 400
    begun: list[str] = []

    def breaking() -> Iterator[bytes]:
        yield data[:256]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.send(ByteSource(len(data), breaking()), "groups.yaml", "groups", begun=begun.append)
    sent: list[bytes] = []
    real = Client._part

    def counted(self: Client, upload_id: str, piece: bytes) -> str:
        sent.append(piece)
        return real(self, upload_id, piece)

    monkeypatch.setattr(Client, "_part", counted)
    done = client.send(ByteSource(len(data), iter([data])), "groups.yaml", "groups", upload_id=begun[0])
    assert done.status == "completed"
    assert b"".join(sent) == data[256:]


def test_a_refusal_names_the_field(client: Client) -> None:
    with pytest.raises(RefusedError, match="/body/spec/name") as caught:
        client.submit({"kind": "tiny"})
    assert caught.value.problem.code == "bad_spec"


def answering(answer: Callable[[httpx.Request], httpx.Response], patience: float = 0.0) -> Client:
    return Client("http://plane.test", "k", patience=patience, transport=httpx.MockTransport(answer))


def streamed(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client sleeps; only its own clock goes on meanwhile."""
    found: list[float] = []
    monkeypatch.setattr("trialign_api.client.time", SimpleNamespace(sleep=found.append, monotonic=lambda: sum(found)))
    return found


@pytest.mark.parametrize(
    "call",
    [
        Client.cluster,
        lambda client: client.logs("job-1"),
        lambda client: list(client.follow("job-1")),
        lambda client: client.download("job-1", "report.json", Path("report.json")),
    ],
)
def test_where_nothing_answers_every_call_ends_with_the_address_and_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Client], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        answering(refuse) as client,
        pytest.raises(ClusterError, match=r"http://plane\.test.*refused.*`trialign serve`"),
    ):
        call(client)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_waited_for_as_long_as_patience_lasts(pauses: list[float]) -> None:
    with answering(refuse, patience=2.0) as client, pytest.raises(ClusterError):
        client.cluster()
    assert pauses == [0.2, 0.4, 0.8]


def test_an_answer_of_another_service_names_the_address_and_advice() -> None:
    with (
        answering(lambda _: httpx.Response(502)) as client,
        pytest.raises(ClusterError, match=r"http://plane\.test.*HTTP 502.*`trialign serve`"),
    ):
        client.logs("job-1")


def test_a_download_that_breaks_off_begins_anew(pauses: list[float], tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"ha"
        raise httpx.ReadError("broken")

    answers = [httpx.Response(200, content=broken()), httpx.Response(200, content=b"whole")]
    with answering(lambda _: answers.pop(0), patience=1.0) as client:
        client.download("job-1", "report.json", tmp_path / "report.json")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("report.json", b"whole")]


def test_a_log_that_was_reached_once_is_followed_patiently_with_a_pause_before_each_try(pauses: list[float]) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 1:
            return streamed("event: log\r\nid: 1-4\r\ndata: one\r\n\r\n")
        if len(asked) < 5:
            raise httpx.ConnectError("refused")
        if len(asked) < 7:
            return httpx.Response(502)
        if len(asked) < 9:
            return problem(503)
        if len(asked) < 40:
            return streamed("event: status\r\ndata: running\r\n\r\n")
        return streamed("event: log\ndata: two\n\nevent: end\ndata: succeeded\n\n")

    with answering(answer) as client:
        assert list(client.follow("job-1")) == ["one", "two"]
    assert asked == [None] + ["1-4"] * 39
    assert pauses == [1.0] * 39


def test_what_the_service_cannot_answer_now_is_asked_again_and_then_told(pauses: list[float]) -> None:
    answers = [problem(503), problem(429), httpx.Response(200, text="one")]
    with answering(lambda _: answers.pop(0), patience=1.0) as client:
        assert client.logs("job-1") == "one"
    with (
        answering(lambda _: problem(503), patience=2.0) as client,
        pytest.raises(RefusedError, match="cannot answer now"),
    ):
        client.logs("job-1")
    assert pauses == [0.2, 0.4, 0.2, 0.4, 0.8]


def problem(status: int) -> httpx.Response:
    refused = ApiError(status, "unavailable", "It cannot answer now.").response()
    return httpx.Response(status, content=bytes(refused.body), headers=dict(refused.headers))


def test_a_followed_line_ends_only_where_the_event_stream_says_so() -> None:
    said = "one\u2028two\x0cthree\x85four"
    stream = f"event: log\r\ndata: {said}\r\n\r\nevent: end\r\ndata: succeeded\r\n\r\n"
    with answering(lambda _: streamed(stream)) as client:
        assert list(client.follow("job-1")) == [said]


def test_events_are_read_to_the_newest() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        after, limit = int(request.url.params["after"]), int(request.url.params["limit"])
        page = EVENTS[after : after + limit]
        more = page[-1].seq < len(EVENTS)
        cursor = str(page[-1].seq) if more else None
        return httpx.Response(200, text=Page[EventOut](data=page, has_more=more, next_cursor=cursor).model_dump_json())

    with answering(answer) as client:
        assert client.events("job-1") == EVENTS
        assert client.events("job-1", after=1200) == EVENTS[1200:]


EVENTS = [
    EventOut(seq=seq, at=datetime(2026, 1, 31, tzinfo=UTC), type="delayed", message="", data={})
    for seq in range(1, 1235)
]


def test_pings_are_no_lines() -> None:
    stream = "event: log\nid: 1-4\ndata: one\ndata: two\n\n: ping\n\n\nevent: end\ndata: succeeded\n\n"
    with answering(lambda _: streamed(stream)) as client:
        assert list(client.follow("job-1")) == ["one", "two"]


WITHOUT_SERVER = """
import importlib.abc, sys

class Refused(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("fastapi", "starlette", "sqlalchemy", "alembic", "uvicorn", "sse_starlette"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Refused())
from trialign_ray.cli import main
main()
"""


def test_the_client_and_its_commands_need_no_package_of_the_extra_server() -> None:
    """They fail for want of a service, not for want of what the service is made of."""
    command = [sys.executable, "-c", WITHOUT_SERVER, "jobs", "show", "job-1", "--url", "http://127.0.0.1:1"]
    done = subprocess.run([*command, "--key", "tk_x_y"], capture_output=True, text=True, check=False)
    assert done.returncode == ClusterError.exit_status, done.stderr
    assert "http://127.0.0.1:1" in done.stderr

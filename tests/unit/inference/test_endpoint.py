"""Each answer is asked for once, failures that may pass are repeated, others end the run, and the key stays secret."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import HANGS, ChatServer, Reply, failed, said
from trialign_ray.config.endpoint import KEY_ENV, EndpointSpec
from trialign_ray.errors import (
    BadReplyError,
    DataError,
    EndpointError,
    EndpointRefusedError,
    MissingAnswersError,
    SpecError,
)
from trialign_ray.inference.base import Sampling
from trialign_ray.inference.endpoint import ChatRequest, Endpoint, chat_body
from trialign_ray.inference.endpoint.cache import AnswerCache
from trialign_ray.inference.endpoint.client import _Asking
from trialign_ray.progress import Silent

KEY = "sk-very-secret-0123456789"


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = 0

    def note(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, n: int = 1) -> None:
        self.done += n


def echo(body: Mapping[str, Any], number: int) -> Reply:
    return said(f"you said {body['messages'][-1]['content']}")


def scripted(*replies: Reply) -> ChatServer:
    """Answers with these, and with the last for ever."""
    return ChatServer(lambda body, number: replies[min(number, len(replies) - 1)])


def endpoint(server: ChatServer, folder: Path, **changes: Any) -> Endpoint:
    fields = {"url": server.url, "model": "m", "cache": str(folder / "cache"), "concurrency": 1, **changes}
    return Endpoint(EndpointSpec.model_validate(fields))


def requests(server: Endpoint, texts: Iterable[str]) -> list[ChatRequest]:
    sampling = Sampling(8)
    return [
        ChatRequest(server.url, chat_body("m", [{"role": "user", "content": text}], sampling, 0, {}), 0, f"'{text}'")
        for text in texts
    ]


def ask(server: Endpoint, texts: Sequence[str], notes: Notes | None = None) -> list[str]:
    return [reply.text for reply in server.ask(requests(server, texts), notes or Notes())]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nothing is."""
    seconds: list[float] = []

    async def wait(self: _Asking, left: float) -> None:
        seconds.append(left)
        self._pace._next = 0.0  # the wait is over

    monkeypatch.setattr(_Asking, "_wait", wait)
    return seconds


def test_replies_come_in_the_order_of_their_requests_and_equal_requests_are_one(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        asked = endpoint(server, tmp_path, concurrency=4)
        texts = [f"{n % 20}" for n in range(60)]
        notes = Notes()
        assert ask(asked, texts, notes) == [f"you said {text}" for text in texts]
        assert server.requests == notes.done == 20
        assert server.bodies[0]["path"] == "/v1/chat/completions"


def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path) -> None:
    meet = threading.Barrier(3)

    def together(body: Mapping[str, Any], number: int) -> Reply:
        meet.wait(30)  # breaks, and so fails the request, unless three are under way at once
        return echo(body, number)

    with ChatServer(together) as server:
        ask(endpoint(server, tmp_path, concurrency=3, attempts=1), [f"{n}" for n in range(12)])
        assert server.most_at_once == 3


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        first = ask(endpoint(server, tmp_path), ["a", "b"])
        again = ask(endpoint(server, tmp_path), ["a", "b", "c"])
        assert again[:2] == first
        assert server.requests == 3


def test_another_sample_of_an_equal_body_is_another_request(tmp_path: Path) -> None:
    with ChatServer(lambda body, number: said(str(number))) as server:
        asked = endpoint(server, tmp_path)
        (one,) = requests(asked, ["a"])
        two = ChatRequest(one.url, one.body, 1)
        assert [reply.text for reply in asked.ask([one, two, one], Silent())] == ["0", "1", "0"]


@pytest.mark.parametrize(
    "bad",
    [
        failed(500),
        failed(502),
        failed(408),
        Reply(b"<html>busy</html>"),
        Reply(b'{"choices": ['),
        Reply(b'{"error": {"message": "overloaded"}}'),
        Reply(b'{"choices": []}'),
        Reply(said("cut off").body, length=9999),
    ],
    ids=["500", "502", "408", "html", "bad json", "error in 200", "no choice", "truncated"],
)
def test_what_may_pass_is_tried_again(tmp_path: Path, waits: list[float], bad: Reply) -> None:
    with scripted(bad, bad, said("at last")) as server:
        assert ask(endpoint(server, tmp_path), ["a"]) == ["at last"]
        assert server.requests == 3
    assert len(waits) == 2
    assert 0.25 <= waits[0] < waits[1] <= 1.0


def test_a_reply_that_does_not_come_is_given_up_and_asked_again(tmp_path: Path, waits: list[float]) -> None:
    with scripted(HANGS, said("at last")) as server:
        notes = Notes()
        assert ask(endpoint(server, tmp_path, timeout_seconds=0.2), ["a"], notes) == ["at last"]
        assert server.requests == 2
        assert "no whole reply within 0.2 s" in notes.lines[0]


def test_a_server_that_is_not_there_is_named(tmp_path: Path, waits: list[float]) -> None:
    with ChatServer(echo) as gone:
        pass
    with pytest.raises(EndpointError, match=rf"field.*|{gone.url}.*failed 3 times, last with: ConnectError") as failure:
        ask(endpoint(gone, tmp_path, attempts=3), ["a"])
    assert failure.value.code == "endpoint_failed"
    assert len(waits) == 2


@pytest.mark.parametrize(("given", "seconds"), [("7", 7.0), ("0", 0.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0)])
def test_a_server_says_when_to_come_back(tmp_path: Path, waits: list[float], given: str, seconds: float) -> None:
    with scripted(failed(429, Retry_After=given), failed(500, Retry_After=given), said("ok")) as server:
        assert ask(endpoint(server, tmp_path), ["a"]) == ["ok"]
    assert [wait for wait in waits if wait > 1] == pytest.approx([seconds] * 2 if seconds else [], abs=0.5)
    assert all(wait > 0.1 for wait in waits)


def test_a_server_that_asks_for_hours_is_not_waited_for(tmp_path: Path) -> None:
    with scripted(failed(429, Retry_After="7200")) as server:
        with pytest.raises(EndpointError, match=r"asks to wait for 7200 s .*Start again after that"):
            ask(endpoint(server, tmp_path), ["a"])
        assert server.requests == 1


@pytest.mark.parametrize(
    ("refusal", "said_of_it"),
    [
        (failed(401, "wrong key"), r"status 401: wrong key Put a valid key .*--key-env"),
        (failed(404, "no such model"), r"status 404: no such model Check the URL"),
        (failed(400, "temperature is not supported"), r"status 400: temperature is not supported .*'body'"),
        (failed(400, "System role not supported"), r"not supported .* in a system message.*template that takes one"),
        (failed(429, "you are out of money", "insufficient_quota"), r"you are out of money Raise the account's limit"),
        (
            failed(302, Location="https://elsewhere.example/steal?x=1"),
            r"redirects to https://elsewhere.example/steal, ",
        ),
        (failed(307, Location="/v2/chat/completions"), r"redirects to http://127.0.0.1/v2/chat/completions, which"),
    ],
    ids=["key", "model", "field", "role", "quota", "elsewhere", "moved"],
)
def test_a_refusal_ends_the_run_at_once_and_says_what_to_do(tmp_path: Path, refusal: Reply, said_of_it: str) -> None:
    with scripted(refusal) as server:
        with pytest.raises(EndpointRefusedError, match=said_of_it) as failure:
            ask(endpoint(server, tmp_path), ["a", "b", "c"])
        assert server.requests == 1
    assert "'a'" in str(failure.value)
    assert "0 of 3 requests were answered" in str(failure.value)
    assert failure.value.code == "endpoint_refused"


def test_a_small_reply_that_unpacks_to_a_large_one_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(said("x" * 3_000_000).body)
    with scripted(Reply(packed, headers={"Content-Encoding": "gzip"})) as server:
        with pytest.raises(BadReplyError, match="compressed, which was not asked for"):
            ask(endpoint(server, tmp_path), ["a"])
        assert server.requests == 1


def test_a_reply_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with scripted(Reply(b"x" * 3_000_000)) as server:
        with pytest.raises(BadReplyError, match="more than 2048 bytes"):
            ask(endpoint(server, tmp_path, reply_bytes=2048), ["a"])
        assert server.requests == 1
        assert server.headers[0]["accept-encoding"] == "identity"


def test_a_failure_keeps_what_was_answered_and_what_is_on_its_way(tmp_path: Path) -> None:
    refused = threading.Event()

    def answer(body: Mapping[str, Any], number: int) -> Reply:
        if body["messages"][-1]["content"] == "bad":
            refused.set()
            return failed(400)
        refused.wait(30)  # so it is under way when the other is refused
        return echo(body, number)

    with ChatServer(answer) as server:
        asked = endpoint(server, tmp_path, concurrency=2)
        with pytest.raises(EndpointRefusedError, match="1 of 4 requests were answered and are kept"):
            ask(asked, ["good", "bad", "never", "asked"])
        assert server.requests == 2
        assert ask(asked, ["good"]) == ["you said good"]
        assert server.requests == 2


def test_a_replay_takes_answers_from_the_cache_alone(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        ask(endpoint(server, tmp_path), ["a", "b"])
        replay = endpoint(server, tmp_path, replay=True)
        assert ask(replay, ["b", "a"]) == ["you said b", "you said a"]
        with pytest.raises(
            MissingAnswersError, match=r"2 of 4 answers are missing, the first to 'c'.*--replay.*--cache"
        ):
            ask(replay, ["a", "b", "c", "d"])
        assert server.requests == 2


def test_a_damaged_file_of_the_cache_is_named(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        asked = endpoint(server, tmp_path)
        ask(asked, ["a"])
        (file,) = (tmp_path / "cache").rglob("*.json")
        assert json.loads(file.read_text())["request"]["messages"] == [{"role": "user", "content": "a"}]
        file.write_text("{")
        with pytest.raises(DataError, match=rf"{file.name}: is not an answer that was kept\. Delete it"):
            ask(asked, ["a"])


def test_what_a_killed_writer_left_is_no_answer(tmp_path: Path) -> None:
    with ChatServer(echo) as server:
        asked = endpoint(server, tmp_path)
        (request,) = requests(asked, ["a"])
        folder = tmp_path / "cache" / request.key[:2]
        folder.mkdir(parents=True)
        (folder / f".{request.key}.json.0123456789ab.partial").write_text('{"reply": {')
        assert ask(asked, ["a"]) == ["you said a"]


def test_the_key_is_sent_and_is_in_no_file_and_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(body: Mapping[str, Any], number: int) -> Reply:
        if number == 0:
            return Reply(said("fine").body[:-1] + f', "echo": "Bearer {KEY}"}}'.encode())
        return failed(401, f"the key {KEY} is wrong")

    monkeypatch.setenv(KEY_ENV, KEY)
    with ChatServer(leaking) as server:
        with pytest.raises(EndpointRefusedError, match=r"the key \*\*\* is wrong") as failure:
            ask(endpoint(server, tmp_path), ["a", "b"])
        assert [headers["authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert KEY not in str(failure.value)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 1
    assert all(KEY not in file.read_text() for file in files)


def escaped(key: str) -> str:
    """The key as JSON may have it, in no byte of which it stands whole."""
    return key.replace("/", "\\/").replace("0", "\\u0030")


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize("body", ['{"error": {"message": "bad key KEY"}}', '{"detail": ["KEY"]}', '"KEY"', "{KEY"])
def test_a_key_that_an_error_repeats_in_escapes_is_in_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], status: int, body: str
) -> None:
    key = "abc/def/ghi/jkl0123"
    monkeypatch.setenv(KEY_ENV, key)
    sent = body.replace("KEY", key if body == "{KEY" else escaped(key))
    with scripted(Reply(sent.encode(), status)) as server, pytest.raises(EndpointError) as refused:
        ask(endpoint(server, tmp_path, attempts=1), ["a"])
    assert key not in str(refused.value)
    assert "***" in str(refused.value)


def test_a_key_that_a_reply_repeats_in_escapes_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "abc/def/ghi/jkl0123"
    monkeypatch.setenv(KEY_ENV, key)
    reply = said("you sent KEY", KEY="KEY").body.decode().replace("KEY", escaped(key))
    with scripted(Reply(reply.encode())) as server:
        assert ask(endpoint(server, tmp_path), ["a"]) == ["you sent ***"]
    (kept,) = (tmp_path / "cache").rglob("*.json")
    assert key not in kept.read_text()


def test_only_the_variable_that_is_named_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MINE", "other")
    with ChatServer(echo) as server:
        ask(endpoint(server, tmp_path), ["a"])
        ask(endpoint(server, tmp_path, key_env="MINE"), ["b"])
        assert [headers.get("authorization") for headers in server.headers] == [None, "Bearer other"]


def test_a_variable_that_is_named_and_not_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"variable NO_SUCH_KEY, which is to hold the API key, is not set"):
        Endpoint(EndpointSpec(url="http://h/v1", model="m", key_env="NO_SUCH_KEY"))


def test_a_key_changes_no_request_so_a_replay_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(echo) as server:
        monkeypatch.setenv("MINE", KEY)
        ask(endpoint(server, tmp_path, key_env="MINE"), ["a"])
        monkeypatch.delenv("MINE")
        assert ask(endpoint(server, tmp_path, key_env="MINE", replay=True), ["a"]) == ["you said a"]


def test_it_works_where_a_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    import asyncio

    with ChatServer(echo) as server:

        async def cell() -> list[str]:
            return ask(endpoint(server, tmp_path), ["a"])

        assert asyncio.run(cell()) == ["you said a"]


def test_ctrl_c_waits_for_what_is_on_its_way_keeps_it_and_later_asks_for_the_others_alone(tmp_path: Path) -> None:
    def interrupting(body: Mapping[str, Any], number: int) -> Reply:
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
            stopping.wait(30)
        return echo(body, number)

    class Telling(Notes):
        def note(self, text: str) -> None:
            super().note(text)
            stopping.set()

    stopping, notes = threading.Event(), Telling()
    texts = [f"{n}" for n in range(20)]
    with ChatServer(interrupting) as server:
        asked = endpoint(server, tmp_path, concurrency=1)
        with pytest.raises(KeyboardInterrupt):
            ask(asked, texts, notes)
        assert server.requests == 4
        assert notes.lines == [
            "Stopping when the requests under way are answered (1); Ctrl-C again gives them up.",
            "4 of 20 requests were answered and are kept; the same command asks for the others only.",
        ]
        assert ask(asked, texts) == [f"you said {text}" for text in texts]
        assert server.requests == 20
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_gives_up_what_is_on_its_way(tmp_path: Path) -> None:
    def hanging(body: Mapping[str, Any], number: int) -> Reply:
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return HANGS if number else echo(body, number)

    class Again(Notes):
        def note(self, text: str) -> None:
            super().note(text)
            if text.startswith("Stopping"):
                os.kill(os.getpid(), signal.SIGINT)

    with ChatServer(hanging) as server:
        asked = endpoint(server, tmp_path, concurrency=1, timeout_seconds=3600)
        with pytest.raises(KeyboardInterrupt):
            ask(asked, ["a", "b", "c"], notes := Again())
        assert notes.lines[-1].startswith("1 of 3 requests were answered")
        assert server.requests == 2


def test_ctrl_c_during_a_wait_ends_it(tmp_path: Path) -> None:
    def busy(body: Mapping[str, Any], number: int) -> Reply:
        return failed(429, Retry_After="599")

    class Interrupting(Notes):
        def note(self, text: str) -> None:
            super().note(text)
            if "trying again after" in text:
                os.kill(os.getpid(), signal.SIGINT)

    with ChatServer(busy) as server:
        with pytest.raises(KeyboardInterrupt):
            ask(endpoint(server, tmp_path), ["a", "b"], Interrupting())
        assert server.requests == 1


def test_an_answer_that_cannot_be_kept_ends_the_run_before_more_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: AnswerCache, request: ChatRequest, reply: object) -> None:
        raise DataError("cache: cannot be written: no space left")

    monkeypatch.setattr(AnswerCache, "put", full)
    with ChatServer(echo) as server:
        with pytest.raises(DataError, match=r"'a': cache: cannot be written: no space left\n0 of 3 requests"):
            ask(endpoint(server, tmp_path), ["a", "b", "c"])
        assert server.requests == 1


def test_a_cache_that_is_no_folder_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is wanted")
    with ChatServer(echo) as server:
        with pytest.raises(DataError, match=r"cache/.*\.json: cannot be read"):
            ask(endpoint(server, tmp_path), ["a", "b", "c"])
        assert server.requests == 0


@pytest.mark.parametrize("key", ["schlüssel", "sk-1\nHost: evil"])
def test_a_key_that_no_header_takes_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(SpecError, match=f"{KEY_ENV}: holds characters that no API key has") as refused:
        Endpoint(EndpointSpec(url="http://h/v1", model="m"))
    assert key not in str(refused.value)


def test_half_of_a_surrogate_pair_is_sent_as_json_has_it(tmp_path: Path) -> None:
    with ChatServer(lambda body, number: said("ok")) as server:
        assert ask(endpoint(server, tmp_path), ["\ud83d"]) == ["ok"]
        assert server.bodies[0]["messages"][0]["content"] == "\ud83d"
        assert server.headers[0]["content-type"] == "application/json"

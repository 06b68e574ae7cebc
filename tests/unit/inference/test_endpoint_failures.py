"""Failures that may pass are repeated, others end the run."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import HANGS, ChatServer, Reply, failed, said
from tests.unit.inference.asking import Notes, ask, echo, endpoint, scripted
from trialign_ray.errors import (
    BadReplyError,
    EndpointError,
    EndpointRefusedError,
)


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

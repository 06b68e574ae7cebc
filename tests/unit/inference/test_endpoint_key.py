"""The key stays secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import ChatServer, Reply, failed, said
from tests.unit.inference.asking import ask, echo, endpoint, scripted
from trialign_ray.config.endpoint import KEY_ENV, EndpointSpec
from trialign_ray.errors import (
    EndpointError,
    EndpointRefusedError,
    SpecError,
)
from trialign_ray.inference.endpoint import Endpoint

KEY = "sk-very-secret-0123456789"


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


@pytest.mark.parametrize("key", ["schlüssel", "sk-1\nHost: evil"])
def test_a_key_that_no_header_takes_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(SpecError, match=f"{KEY_ENV}: holds characters that no API key has") as refused:
        Endpoint(EndpointSpec(url="http://h/v1", model="m"))
    assert key not in str(refused.value)

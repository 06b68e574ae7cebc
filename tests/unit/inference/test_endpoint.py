"""Each answer is asked for once, and kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import ChatServer, Reply, said
from tests.unit.inference.asking import Notes, ask, echo, endpoint, requests
from trialign_ray.errors import (
    DataError,
    MissingAnswersError,
)
from trialign_ray.inference.endpoint import ChatRequest
from trialign_ray.inference.endpoint.cache import AnswerCache
from trialign_ray.progress import Silent


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


def test_it_works_where_a_loop_runs_already_as_in_a_notebook(tmp_path: Path) -> None:
    import asyncio

    with ChatServer(echo) as server:

        async def cell() -> list[str]:
            return ask(endpoint(server, tmp_path), ["a"])

        assert asyncio.run(cell()) == ["you said a"]


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


def test_half_of_a_surrogate_pair_is_sent_as_json_has_it(tmp_path: Path) -> None:
    with ChatServer(lambda body, number: said("ok")) as server:
        assert ask(endpoint(server, tmp_path), ["\ud83d"]) == ["ok"]
        assert server.bodies[0]["messages"][0]["content"] == "\ud83d"
        assert server.headers[0]["content-type"] == "application/json"

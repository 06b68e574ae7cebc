"""What Ctrl-C keeps of the answers on their way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import HANGS, ChatServer, Reply, failed
from tests.unit.inference.asking import Notes, ask, echo, endpoint


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

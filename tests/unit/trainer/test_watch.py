"""The driver passes a signal on until the learners end, shows the steps once each, and hands on what ends the run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from trialign_ray.actors.state import GroupStatus
from trialign_ray.errors import WorkerError
from trialign_ray.progress import Silent
from trialign_ray.trainer import watch as watching
from trialign_ray.trainer.watch import watch

from .fakes import Handle, answer_at_once

PATIENCE = 30.0
"""Seconds after which a test that waits for another thread fails."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_at_once(monkeypatch)
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.01)


class Actor:
    """Group actor 0: it remembers a stop request until it is restarted."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.statistics: dict[str, float] = {}

    def request_stop(self) -> None:
        self.asked.set()

    def restart(self) -> None:
        self.asked.clear()

    def status(self) -> GroupStatus:
        return GroupStatus("neutral", 0, self.statistics)


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.advanced: list[int] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, n: int = 1) -> None:
        self.advanced.append(n)


def watched(fit: Callable[[], str], actor: Actor, notes: Notes) -> str:
    handle: Any = Handle(actor)
    return watch(fit, handle, 10, notes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_survives_restarts_of_the_actor(number: signal.Signals) -> None:
    actor, notes = Actor(), Notes()

    def learners() -> str:
        os.kill(os.getpid(), number)
        for _ in range(3):
            assert actor.asked.wait(PATIENCE), "the request is lost"
            actor.restart()
        return "stopped"

    assert watched(learners, actor, notes) == "stopped"
    assert len([line for line in notes.lines if line.startswith("Stopping")]) == 1


def test_without_a_signal_nothing_is_asked() -> None:
    actor = Actor()
    assert watched(lambda: "done", actor, Notes()) == "done"
    assert not actor.asked.is_set()


def test_what_ends_the_learners_is_raised_here() -> None:
    def learners() -> str:
        raise WorkerError("worker died")

    with pytest.raises(WorkerError, match="worker died"):
        watched(learners, Actor(), Notes())


def test_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    watched(lambda: "done", Actor(), Notes())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_steps_count_once_though_a_restarted_actor_forgets_them() -> None:
    actor, notes = Actor(), Notes()
    seen = threading.Condition()

    class Watched(Notes):
        def advance(self, n: int = 1) -> None:
            with seen:
                notes.advance(n)
                seen.notify_all()

    def polled(times: int) -> None:
        with seen:
            count = len(notes.advanced) + times
            assert seen.wait_for(lambda: len(notes.advanced) >= count, PATIENCE)

    def learners() -> str:
        for statistics in ({"step": 3.0}, {}, {"step": 4.0}):
            actor.statistics = statistics
            polled(2)
        return "done"

    watched(learners, actor, Watched())
    assert sum(notes.advanced) == 4
    assert min(notes.advanced) >= 0


def test_a_lowered_penalty_is_said_once() -> None:
    actor, notes = Actor(), Notes()
    actor.statistics = {"step": 1.0, "lambda": 0.125, "lambda_clamped": True}
    polls: list[int] = []
    enough = threading.Event()

    class Watched(Notes):
        def advance(self, n: int = 1) -> None:
            polls.append(n)
            if len(polls) == 3:
                enough.set()

    told = Watched()
    told.lines = notes.lines
    watched(lambda: str(enough.wait(PATIENCE)), actor, told)
    assert ["lowered to 0.125" in line for line in notes.lines] == [True]

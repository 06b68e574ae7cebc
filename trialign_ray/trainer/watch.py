"""The driver's watch over running learners: progress, and signals that end them behind a checkpoint."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

import ray

from trialign_ray.actors.handle import GroupActorHandle
from trialign_ray.actors.state import Statistics
from trialign_ray.progress import Progress

_POLL_SECONDS = 0.5
_SIGNAL_SECONDS = 0.05

Result = TypeVar("Result")


class Background(Generic[Result]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._result: list[Result] = []
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def result(self) -> Result:
        """What the call gave, after the thread's end; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except Exception as error:
            self._error = error


def watch(fit: Callable[[], Result], actor: GroupActorHandle, steps: int, progress: Progress) -> Result:
    """Call `fit` beside this thread, which shows the steps that `actor` reports and passes signals on to it.

    A stop request is repeated until the learners end: the actor forgets it when it is restarted. Raises what `fit`
    raises.
    """
    # In the main thread Ray Train would take SIGINT for itself and abort without a checkpoint.
    background = Background(fit)
    thread, stop = background.thread, threading.Event()
    progress.begin("training", steps)
    shown, clamped, announced = 0, False, False
    with _signals(stop.set):
        thread.start()
        while thread.is_alive():
            _pause(thread, stop, announced)
            if stop.is_set():
                actor.request_stop.remote()
                if not announced:
                    announced = True
                    progress.note(_STOPPING)
            statistics = _statistics(actor)
            if statistics.get("lambda_clamped") and not clamped:
                clamped = True
                progress.note(_lowered(statistics["lambda"] or 0.0))
            step = int(statistics.get("step") or 0)
            progress.advance(max(0, step - shown))
            shown = max(step, shown)
    progress.end()
    return background.result()


def _pause(thread: threading.Thread, stop: threading.Event, announced: bool) -> None:
    """A while, or until the learners end or a first signal comes.

    Not `stop.wait()`: it would hold the event's lock where a signal, handled in this very thread, sets the event.
    """
    until = time.monotonic() + _POLL_SECONDS
    while thread.is_alive() and (announced or not stop.is_set()) and time.monotonic() < until:
        thread.join(_SIGNAL_SECONDS)


def _statistics(actor: GroupActorHandle) -> Statistics:
    """What rank 0 last told the actor; empty where it does not answer in time."""
    try:
        return ray.get(actor.status.remote(), timeout=_POLL_SECONDS).statistics
    except ray.exceptions.GetTimeoutError:
        return {}


_STOPPING = "Stopping: a checkpoint is written after this step. A second signal ends at once, at the last checkpoint."


def _lowered(coefficient: float) -> str:
    return (
        f"The inconsistency penalty is lowered to {coefficient:.3g}: at 'algorithm.inconsistency.coefficient' a group "
        "would gain by agreeing on a wrong answer. Lower it, or raise 'algorithm.utility.w_truth'."
    )


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop`, the next ends the process as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Work on files that a caller names or sends: in a process of its own, whose memory, time and output are limited.

Whatever a file holds, the worst that it does is to end that process: the control plane reads the outcome as JSON of
limited length. The processes are forked from one that has the modules loaded, so one costs milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from trialign_api import text
from trialign_api.disk import FULL
from trialign_ray.errors import DataError, RowError, RowProblem, TrialignError

_OUTCOME_BYTES = 4 << 20
_KILL_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_SERVER = multiprocessing.get_context("forkserver")
_SERVICES = "trialign_api.services"
PRELOADED = ["__main__", f"{_SERVICES}.plan", f"{_SERVICES}.unpack", f"{_SERVICES}.exactness", "pandas", __name__]
"""Modules of all work, none of which imports the web framework or the database, and pandas, which PyArrow imports at
the first conversion where it is installed."""
_TOO_BIG = "it needs more than {memory} MB of memory"
_TOO_LONG = "it takes more than {seconds} s of computing"
_OURS = "The check itself failed; the cause is in the service's log."
_FIX = "Give a smaller file, shorter lines, or fewer and smaller values."


class RefusedInsideError(TrialignError):
    """What the process raised on purpose, with the code that it had there."""

    def __init__(self, code: str, message: str, named: str | None) -> None:
        super().__init__(message)
        self.code, self.field = code, named

    def __str__(self) -> str:
        """The message has named the field already."""
        return Exception.__str__(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one piece of work may take."""

    memory_bytes: int
    """Address space, so a good part of it is libraries."""
    seconds: float
    """Of the clock: what waits longer waits for storage."""
    cpu_seconds: int
    """Of the processor."""
    file_bytes: int
    """Longest file that it may write."""


@dataclass(frozen=True, slots=True)
class Confined:
    """Runs functions of importable modules; at most `at_once` beside each other."""

    limits: Limits
    at_once: int = 4
    _threads: ThreadPoolExecutor = field(init=False)
    _turn: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Each piece has its whole time from when its turn comes."""
        object.__setattr__(self, "_threads", ThreadPoolExecutor(self.at_once, "confined"))
        object.__setattr__(self, "_turn", asyncio.Semaphore(self.at_once))

    async def run(self, work: Callable[..., Any], guard: Callable[[], object] | None = None, /, **given: Any) -> Any:
        """The JSON that `work(**given)` gives. Raises its TrialignError, and DataError where it broke the limits.

        Raises TimeoutError where it waited, for storage, longer than it may take, and OSError where a disk is full.
        `guard` is called every second meanwhile; what it raises ends the work.
        """
        async with self._turn:
            receiver, sender = _SERVER.Pipe(duplex=False)
            process = _SERVER.Process(target=_inside, args=(sender, work, given, self.limits), daemon=True)
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._threads, _start, process, sender)
                outcome = await loop.run_in_executor(self._threads, _outcome, process, receiver, self.limits, guard)
            finally:
                with contextlib.suppress(ValueError, AttributeError):  # it never started
                    process.kill()
                receiver.close()
        return _result(outcome)


def _start(process: BaseProcess, sender: Connection) -> None:
    _SERVER.set_forkserver_preload(PRELOADED)
    process.start()
    sender.close()


def _outcome(
    process: BaseProcess, receiver: Connection, limits: Limits, guard: Callable[[], object] | None
) -> Mapping[str, Any]:
    """What the process says, or why it says nothing. Blocking."""
    end = time.monotonic() + limits.seconds
    while not receiver.poll(min(_LOOK_SECONDS, max(0.0, end - time.monotonic()))):
        if time.monotonic() >= end:
            raise TimeoutError("the files could not be read in time")
        if guard is not None:
            guard()
    try:
        found: Mapping[str, Any] = text.loads(receiver.recv_bytes(_OUTCOME_BYTES))
    except (EOFError, OSError):
        process.join(_KILL_SECONDS)
        long = process.exitcode == -signal.SIGXCPU
        return _broken(_TOO_LONG if long else _TOO_BIG, limits)
    return found


def _broken(how: str, limits: Limits) -> dict[str, Any]:
    reason = how.format(memory=limits.memory_bytes >> 20, seconds=limits.cpu_seconds)
    return {"code": DataError.code, "message": f"The files cannot be checked: {reason}. {_FIX}", "field": None}


def _result(outcome: Mapping[str, Any]) -> Any:
    if "result" in outcome:
        return outcome["result"]
    if "errno" in outcome:
        raise OSError(outcome["errno"], os.strerror(outcome["errno"]))
    if problems := outcome.get("problems"):
        raise RowError([RowProblem(**problem) for problem in problems], outcome["fix"])
    raise RefusedInsideError(outcome["code"], outcome["message"], outcome["field"])


def _inside(sender: Connection, work: Callable[..., Any], given: Mapping[str, Any], limits: Limits) -> None:
    """The process: limit itself, work, and send the outcome."""
    _limit(limits)
    try:
        outcome = {"result": work(**given)}
    except (MemoryError, RecursionError) as error:
        how = _TOO_BIG if isinstance(error, MemoryError) else "it is nested too deeply"
        outcome = _broken(how, limits)
    except Exception as error:
        outcome = _full(error) or _told(error)
    sender.send_bytes(text.dumps(outcome).encode())
    sender.close()
    os._exit(0)  # threads of a library, and what it would do at the end, are of no more use


def _limit(limits: Limits) -> None:
    """No more than this, whatever the file is; a process whose parent is gone ends by its own alarm."""
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2 * math.ceil(limits.seconds))


def _full(error: BaseException | None) -> dict[str, Any] | None:
    """Whether it comes of a full disk, which is no fault of the file, whatever the library has made of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return {"errno": error.errno}
        error = error.__cause__ or error.__context__
    return None


def _told(error: Exception) -> dict[str, Any]:
    if not isinstance(error, TrialignError):  # a fault of ours: the parent must not take it for one of the file
        traceback.print_exception(error)
        return {"code": TrialignError.code, "message": _OURS, "field": None}
    told: dict[str, Any] = {"code": error.code, "message": str(error), "field": error.field}
    if isinstance(error, RowError):
        problems = [
            {"file": one.file, "row": one.row, "field": one.field, "reason": one.reason} for one in error.problems[:20]
        ]
        told |= {"problems": problems, "fix": str(error).rpartition("\n")[2]}
    return json.loads(text.dumps(told))  # type: ignore[no-any-return]  # the keys above

"""Chunks of logs through as many processes as there are cores, in the order in which they come.

Only what needs no other row is done there; what a row may repeat or contradict is looked up by the process that reads.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from trialign_ray.errors import DataError

_FEW = 64
"""Chunks that are done before new processes, whose start takes seconds, are worth it."""
_AHEAD = 2
"""Chunks that wait for each process: memory does not grow with the log."""
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def mapped(work: Callable[[_In], _Out], items: Iterable[_In], processes: int) -> Iterator[tuple[_In, _Out]]:
    """Each item with what `work`, a function of a module, gives for it. Raises DataError where a process is killed."""
    left = iter(items)
    for item in islice(left, _FEW if processes > 1 else None):
        yield item, work(item)
    first = next(left, None)
    if first is not None:
        yield from _pooled(work, chain([first], left), processes)


def _pooled(work: Callable[[_In], _Out], items: Iterator[_In], processes: int) -> Iterator[tuple[_In, _Out]]:
    waiting: deque[tuple[_In, Future[_Out]]] = deque()
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_quiet)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= _AHEAD * processes:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
    except BrokenProcessPool:
        reason = "a process that checked rows was ended from outside, perhaps for its memory"
        raise DataError(f"{reason}. Import with fewer: --processes 1.") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quiet() -> None:
    """Ctrl-C is for the process that reads, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

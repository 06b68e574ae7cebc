"""What the commands write: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from trialign_ray.progress import Progress

WIDE = 160
"""Columns of a table in a file or a pipe, where no terminal says how wide it is."""
LINE_EVERY_S = 10.0
_SPEED_OVER_S = 120.0  # a training step may take 10 s, so the time left needs a long memory


def show(result: RenderableType) -> None:
    """Write a table or text to stdout."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=WIDE)
    console.print(result, markup=False, highlight=False)


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars where stderr is a terminal, lines where it is a file or a pipe."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(sys.stderr)
        return
    with Bars(console) as bars:
        yield bars


class Bars:
    """One bar for each task, with the time left."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        left = (TextColumn("left"), TimeRemainingColumn())
        self._rich = RichProgress(
            *columns, *left, console=console, refresh_per_second=2, speed_estimate_period=_SPEED_OVER_S
        )
        self._task = self._rich.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    def begin(self, label: str, total: int) -> None:
        """Show a bar of `total` units."""
        self._task = self._rich.add_task(label, total=total)

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        self._rich.advance(self._task, n)

    def end(self) -> None:
        """Stop the bar where it stands."""
        self._rich.stop_task(self._task)

    def note(self, text: str) -> None:
        """Write a line above the bars."""
        self._rich.console.print(text, markup=False, highlight=False)


class Lines:
    """A line every few seconds, for a log file: 'training: 12/50, 3 min 20 s left'."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._label, self._total, self._done = "", 0, 0
        self._began = self._written = clock()
        self._first: tuple[int, float] | None = None

    def begin(self, label: str, total: int) -> None:
        """Write that the task starts."""
        self._start(label, total)
        self.note(f"{label}: 0/{total}")

    def advance(self, n: int = 1) -> None:
        """Count, and write a line when the last is old enough."""
        self._done += n
        if n and self._first is None:
            self._first = self._done, self._clock()
        if n and self._clock() - self._written >= LINE_EVERY_S:
            self._written = self._clock()
            self.note(self._state() + self._left())

    def end(self) -> None:
        """Write how far the task came and how long it took."""
        self.note(f"{self._state()}, took {duration(self._clock() - self._began)}")

    def note(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _start(self, label: str, total: int) -> None:
        self._label, self._total, self._done = label, total, 0
        self._began = self._written = self._clock()
        self._first = None

    def _state(self) -> str:
        return f"{self._label}: {self._done}/{self._total}"

    def _left(self) -> str:
        """Time left at the speed since the first units, which take longer or were done in an earlier run."""
        done, then = self._first or (0, 0.0)
        if self._done <= done:
            return ""
        seconds = (self._clock() - then) / (self._done - done) * max(0, self._total - self._done)
        return f", {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Seconds in words: '45 s', '3 min 20 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

"""Progress as people and log files see it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trialign_ray.io.console import LINE_EVERY_S, Bars, Lines, duration, show


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_lines_tell_the_start_the_end_and_every_note(stream: io.StringIO, clock: Clock) -> None:
    lines = Lines(stream, clock)
    lines.note("12 steps")
    lines.begin("training", 2)
    lines.advance(2)
    clock.now = 75.0
    lines.end()
    assert stream.getvalue().splitlines() == ["12 steps", "training: 0/2", "training: 2/2, took 1 min 15 s"]


def test_a_fast_task_writes_no_line_for_each_unit(stream: io.StringIO, clock: Clock) -> None:
    lines = Lines(stream, clock)
    lines.begin("reading", 10_000)
    for _ in range(10_000):
        clock.now += LINE_EVERY_S / 2_000
        lines.advance()
    assert len(stream.getvalue().splitlines()) <= 1 + 10_000 / 2_000


def test_a_task_that_stands_still_writes_no_line(stream: io.StringIO, clock: Clock) -> None:
    lines = Lines(stream, clock)
    lines.begin("training", 10)
    clock.now = 40.0
    lines.advance(0)
    assert stream.getvalue().splitlines() == ["training: 0/10"]


def test_the_time_left_is_that_of_the_speed_since_the_first_units(stream: io.StringIO, clock: Clock) -> None:
    """They take longer, or were done by an earlier run that this one continues."""
    lines = Lines(stream, clock)
    lines.begin("training", 10)
    for now, units in ((40.0, 4), (60.0, 2)):
        clock.now = now
        lines.advance(units)
    assert stream.getvalue().splitlines()[-2:] == ["training: 4/10", "training: 6/10, 40 s left"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.9, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations_read_like_speech(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bars_show_every_task_with_its_count_and_keep_notes(stream: io.StringIO) -> None:
    console = Console(file=stream, force_terminal=True, width=120)
    with Bars(console) as bars:
        bars.begin("training", 4)
        bars.note("[step 1]")
        bars.advance(3)
        bars.end()
        bars.begin("answering", 2)
    said = stream.getvalue()
    assert "training" in said
    assert "3/4" in said
    assert "0/2" in said
    assert "[step 1]" in said


def test_a_wide_result_is_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show("x" * 150)
    assert capsys.readouterr().out.splitlines()[0] == "x" * 150

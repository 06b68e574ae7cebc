"""Requests begin no faster than allowed, in their order, and not at all during a pause. Time is a number here."""

from __future__ import annotations

import asyncio

import pytest

from trialign_ray.inference.endpoint.pace import Pace


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def wait(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def begun(per_minute: int | None, requests: int, pauses: dict[int, float] | None = None) -> list[float]:
    """When each request began, in seconds; before request n there may be a pause."""
    time, times = Time(), []
    pace = Pace(per_minute, time.wait, time.clock)

    async def request(n: int) -> None:
        assert await pace.turn(lambda: False)
        times.append(time.now - 100.0)
        if pauses and n in pauses:
            pace.pause(pauses[n])

    async def all_of_them() -> None:
        await asyncio.gather(*map(request, range(requests)))

    asyncio.run(all_of_them())
    return times


def test_a_rate_is_even_from_the_first_request_on() -> None:
    assert begun(30, 5) == pytest.approx([0, 2, 4, 6, 8])


def test_without_a_rate_nothing_waits() -> None:
    assert begun(None, 5) == [0] * 5


def test_a_pause_holds_for_all_and_the_rate_goes_on_behind_it() -> None:
    assert begun(60, 5, {1: 30.0}) == pytest.approx([0, 1, 31, 32, 33])
    assert begun(None, 3, {0: 30.0}) == pytest.approx([0, 30, 30])


def test_a_pause_that_is_shorter_than_the_wait_changes_nothing() -> None:
    assert begun(60, 3, {0: 0.5}) == pytest.approx([0, 1, 2])


def test_nothing_begins_once_asking_has_to_stop() -> None:
    async def stopped() -> bool:
        return await Pace(1).turn(lambda: True)

    assert asyncio.run(stopped()) is False

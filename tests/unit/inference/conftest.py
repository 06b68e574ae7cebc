"""Waits that are not waited."""

from __future__ import annotations

import pytest

from trialign_ray.inference.endpoint.client import _Asking


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nothing is."""
    seconds: list[float] = []

    async def wait(self: _Asking, left: float) -> None:
        seconds.append(left)
        self._pace._next = 0.0  # the wait is over

    monkeypatch.setattr(_Asking, "_wait", wait)
    return seconds

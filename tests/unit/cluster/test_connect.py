"""A run uses the Ray that it finds, or one of its own that ends with it. Ray itself is faked."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from trialign_ray.cluster.connect import connected, own_dashboard
from trialign_ray.errors import ClusterError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Options of each `ray.init`; {} for a shutdown."""
    made: list[dict[str, Any]] = []

    def init(**options: Any) -> SimpleNamespace:
        made.append(options)
        if options["address"] == "nowhere:1":
            raise ConnectionError("refused")
        return SimpleNamespace(dashboard_url="127.0.0.1:8265")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: made.append({}))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    return made


def test_without_an_address_a_local_ray_starts_and_ends_with_the_block(calls: list[dict[str, Any]]) -> None:
    seen: list[str | None] = []

    def fail() -> None:
        with connected(None) as dashboard:
            seen.append(dashboard)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert seen == ["http://127.0.0.1:8265"]
    assert [call.get("address") for call in calls] == ["local", None]


def test_an_address_comes_before_the_environment(calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "environment:1")
    with connected("given:1"):
        pass
    with connected(None):
        pass
    assert [call["address"] for call in calls if call] == ["given:1", "environment:1"]


def test_a_connection_that_the_caller_has_is_left_to_it(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with connected("given:1") as dashboard:
        assert dashboard is None
    assert calls == []


def test_an_address_that_does_not_answer_is_named(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(ClusterError, match="Ray at nowhere:1 cannot be reached: refused"), connected("nowhere:1"):
        pass


@pytest.mark.parametrize(("address", "before", "meanwhile"), [(None, None, "0"), (None, "1", "1"), ("a:1", None, None)])
@pytest.mark.usefixtures("calls")
def test_only_the_node_of_a_local_ray_is_not_watched_for_being_taken_away(
    address: str | None, before: str | None, meanwhile: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", raising=False)
    if before is not None:
        monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", before)
    with connected(address):
        assert os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") == meanwhile
    assert os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") == before


def test_a_local_ray_asks_its_own_dashboard(calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://another:8265")
    with connected(None):
        assert os.environ["RAY_API_SERVER_ADDRESS"] == f"http://127.0.0.1:{calls[0]['dashboard_port']}"
        with own_dashboard() as other:
            assert other != calls[0]["dashboard_port"]
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://another:8265"

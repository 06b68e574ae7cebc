"""A local Ray beside another one of the same machine."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import ray
from ray.util.state import get_actor

from trialign_ray.cluster.connect import connected

pytestmark = pytest.mark.integration

_NOBODY = (
    b'{"result": true, "msg": "", "data": {"result": {"total": 0, "num_after_truncation": 0, "num_filtered": 0,'
    b' "result": [], "partial_failure_warning": "", "warnings": null}}}'
)


class _KnowsNoActor(BaseHTTPRequestHandler):
    """The dashboard of a cluster in which nothing of ours runs."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(_NOBODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def another_ray() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _KnowsNoActor)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@ray.remote(num_cpus=0)
class _Actor:
    def state(self) -> str | None:
        """What Ray Train's cleaner asks of a controller; it ends the learners of one that nobody knows."""
        found: Any = get_actor(str(ray.get_runtime_context().get_actor_id()), timeout=30)
        return found.state if found else None


def test_the_actors_of_a_local_ray_are_known_to_the_dashboard_that_they_ask(
    another_ray: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", another_ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with connected(None) as dashboard:
        assert dashboard is not None
        actor: Any = _Actor
        assert ray.get(actor.remote().state.remote()) == "ALIVE"

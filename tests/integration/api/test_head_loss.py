"""The Ray head dies: jobs end or go on, and history stays."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from api.local_ray import local_ray
from api.settings import Settings
from api.states import ENDED
from tests.integration.api.serving import MODULE, SECONDS, Server, free_port, key_of, wait_for

pytestmark = pytest.mark.integration


def test_a_running_job_ends_as_cluster_lost_and_its_log_metrics_and_events_stay(tmp_path: Path, token: str) -> None:
    (tmp_path / "work").mkdir()
    with ExitStack() as stack:
        settings = Settings(
            data=tmp_path / "data",
            workspace=str(tmp_path / "work"),
            ray_address=stack.enter_context(local_ray(cpus=1, store_bytes=80_000_000)),
            python=shlex.quote(sys.executable),
            reconcile_seconds=0.3,
            grace_seconds=2,
        )
        server = Server(settings, free_port(), key_of(settings))
        server.start()
        stack.callback(server.stop)
        client = stack.enter_context(server.client())
        job = client.submit({"kind": "count", "name": "lost", "steps": 10_000, "seconds": 0.1}, retries=0)
        wait_for(lambda: client.metrics(job.id).data and "step 1" in client.logs(job.id))
        kill_head()
        wait_for(lambda: client.job(job.id).status in ENDED)
        lost = client.job(job.id)
        assert lost.error is not None
        assert (lost.status, lost.error.code) == ("failed", "cluster_lost")
        assert "step 1" in client.logs(job.id)
        assert client.metrics(job.id).data
        assert [event.type for event in client.events(job.id)][-2:] == ["missing", "failed"]
        assert not client.cluster().reachable
        waiting = client.submit({"kind": "count", "name": "waits"})
        wait_for(lambda: client.job(waiting.id).status == "queued")


def kill_head() -> None:
    """kill -9 of all that a head consists of; what it ran must end by itself."""
    [keeper] = [child for child in psutil.Process().children() if "api.local_ray" in child.cmdline()]
    [ray] = keeper.children()
    all_of_it = ray.children(recursive=True)
    head = [ray, *ray.children()]
    assert {"gcs_server", "raylet"} <= {process.name() for process in head}
    assert any(MODULE in process.cmdline() for process in all_of_it)
    for process in head:
        process.kill()
    _, alive = psutil.wait_procs(all_of_it, timeout=SECONDS)
    assert not alive

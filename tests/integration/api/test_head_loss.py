"""The Ray head dies: jobs end or go on, and history stays."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.integration.api.serving import MODULE, SECONDS, Server, ended, key_of, told, wait_for
from tests.integration.conftest import beside
from tests.world import LONG, Losses, World, losses
from trialign_api.client import Client
from trialign_api.local_ray import local_ray
from trialign_api.settings import Settings
from trialign_ray.cluster.ports import free_port
from trialign_ray.config.train import TrainSpec

pytestmark = [pytest.mark.integration, pytest.mark.long]


@contextmanager
def serving(folder: Path, workspace: Path, url: str) -> Iterator[Client]:
    """The service on the Ray at `url`."""
    settings = Settings(
        data=folder / "data",
        workspace=str(workspace),
        ray_address=url,
        python=shlex.quote(sys.executable),
        reconcile_seconds=0.3,
        outage_seconds=2,
    )
    server = Server(settings, free_port(), key_of(settings))
    server.start()
    try:
        with server.client() as client:
            yield client
    finally:
        server.stop()


def test_a_job_without_retries_is_lost_and_a_training_run_goes_on_from_its_checkpoint_when_the_head_is_back(
    tmp_path: Path, token: str, world: World, undisturbed: Losses
) -> None:
    with head() as url, serving(tmp_path, world.folder, url) as client:
        counting = client.submit({"kind": "count", "name": "lost", "steps": 10_000, "seconds": 0.1}, retries=0)
        wait_for(lambda: client.metrics(counting.id).data and "step 1" in client.logs(counting.id))
        spec = world.train_spec("beheaded", **LONG)
        job = client.submit(spec.model_dump(mode="json"), retries=1)
        run = TrainSpec.model_validate({**spec.model_dump(), "runs": str(Path(spec.runs, job.id))})
        with beside(run, lambda: kill_head(MODULE, "trialign_ray.entrypoints.ray_job")):
            wait_for(lambda: "retrying" in told(client, job.id))
        before = losses(run)
        assert 0 < len(before) < len(undisturbed)
        text = client.logs(job.id)
        ends_as_lost(client, counting.id)
        assert not client.cluster().reachable
        waiting = client.submit({"kind": "count", "name": "waits"})
        wait_for(lambda: client.job(waiting.id).status == "queued")
        with head(urlsplit(url).port):
            done = ended(client, job.id)
            assert ended(client, waiting.id).status == "succeeded"
        assert (done.status, done.attempt, done.retries_used) == ("succeeded", 2, 1)
        assert losses(run) == undisturbed
        assert text
        assert client.logs(job.id).startswith(text)
        types = told(client, job.id)
        assert types[types.index("missing") :] == ["missing", "retrying", "starting", "running", "succeeded"]


def ends_as_lost(client: Client, job_id: str) -> None:
    """Its log, metrics and events stay."""
    lost = ended(client, job_id)
    assert lost.error is not None
    assert (lost.status, lost.error.code) == ("failed", "cluster_lost")
    assert "step 1" in client.logs(job_id)
    assert client.metrics(job_id).data
    assert told(client, job_id)[-2:] == ["missing", "failed"]


def head(port: int | None = None) -> AbstractContextManager[str]:
    return local_ray(cpus=4, store_bytes=100_000_000, port=port)


def kill_head(*modules: str) -> None:
    """kill -9 of all that a head consists of; what it ran, `modules` too, must end by itself."""
    [keeper] = [child for child in psutil.Process().children() if "trialign_api.local_ray" in child.cmdline()]
    [ray] = keeper.children()
    all_of_it = ray.children(recursive=True)
    head = [ray, *ray.children()]
    assert {"gcs_server", "raylet"} <= {process.name() for process in head}
    assert all(any(module in process.cmdline() for process in all_of_it) for module in modules)
    for process in head:
        process.kill()
    _, alive = psutil.wait_procs(all_of_it, timeout=SECONDS)
    assert not alive

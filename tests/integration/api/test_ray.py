"""The control plane on a real Ray with token authentication: the life of a job, kills, `ray job submit`."""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.api.serving import SECONDS, Server, ended, key_of, told, wait_for
from trialign_api.client import Client
from trialign_api.local_ray import local_ray
from trialign_api.schemas import ClusterOut
from trialign_api.settings import Settings
from trialign_ray.cluster.ports import free_port

pytestmark = pytest.mark.integration

MOST_SECONDS_BETWEEN_KILLS = 2.0
"""From a start: time enough to hear of a job, check it, hand it to Ray and see it run; or not."""


@pytest.fixture(scope="module")
def ray_address(token: str) -> Iterator[str]:
    with local_ray(cpus=2, store_bytes=80_000_000) as url:
        yield url


@pytest.fixture(scope="module")
def server(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("plane")
    (folder / "work").mkdir()
    settings = Settings(
        data=folder / "data",
        workspace=str(folder / "work"),
        ray_address=ray_address,
        python=shlex.quote(sys.executable),
        reconcile_seconds=0.3,
        lease_seconds=0.5,
        active_jobs=4,
        grace_seconds=SECONDS,
        stop_seconds=60,
        requests_per_second=1000,
        request_burst=1000,
    )
    found = Server(settings, free_port(), key_of(settings))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as found:
        yield found


def test_ray_itself_answers_nobody_without_the_token(ray_address: str) -> None:
    assert httpx.get(f"{ray_address}/api/jobs/").status_code == 401


def test_a_job_runs_its_log_streams_and_its_metrics_are_kept(client: Client) -> None:
    job = client.submit({"kind": "count", "name": "first", "steps": 3}, labels={"team": "x"})
    lines = list(client.follow(job.id))
    done = ended(client, job.id)
    assert [line for line in lines if line.startswith("step")] == ["step 0", "step 1", "step 2"]
    assert (done.status, done.error) == ("succeeded", None)
    assert [row["step"] for row in client.metrics(job.id).data] == [0, 1, 2]
    assert client.groups(job.id).groups[0].name == "neutral"
    assert "step 2" in client.logs(job.id)
    assert told(client, job.id)[:3] == ["created", "queued", "starting"]


def test_cancel_writes_a_checkpoint_and_resume_goes_on_from_it(client: Client) -> None:
    job = client.submit({"kind": "count", "name": "stopped", "steps": 60, "seconds": 0.2})
    wait_for(lambda: len(client.metrics(job.id).data) > 1)
    client.cancel(job.id)
    cancelled = ended(client, job.id)
    assert cancelled.status == "cancelled"
    [checkpoint] = client.checkpoints(job.id)
    at = int(Path(str(job.run), "checkpoints", checkpoint.name, "step").read_text())
    assert f"checkpoint at {at}" in client.logs(job.id)
    client.resume(job.id)
    done = ended(client, job.id)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert client.logs(job.id).count("step 0\n") == 1
    assert [row["step"] for row in client.metrics(job.id).data] == list(range(60))


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"exit_status": 3, "says": "bad_data: logs/x.jsonl:3: field 'turn' is 0"}, "bad_data"),
        ({"exit_status": 1, "says": "torch.OutOfMemoryError: CUDA out of memory"}, "out_of_memory"),
    ],
)
def test_a_failure_is_classified_and_shows_its_last_lines(client: Client, spec: dict[str, object], code: str) -> None:
    job = client.submit({"kind": "count", "name": "fails", "steps": 1, **spec}, retries=0)
    failed = ended(client, job.id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", code)
    assert failed.error.log_tail[-1] == spec["says"]


def test_a_job_of_ray_job_submit_appears(client: Client, ray_address: str) -> None:
    command = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--no-wait", "--address", ray_address]
    subprocess.run([*command, "--", "echo", "by hand"], check=True, capture_output=True)
    [job] = wait_for(lambda: list(client.jobs(kind="external")))
    assert ended(client, job.id).status == "succeeded"
    assert "by hand" in client.logs(job.id)


def test_the_cluster_is_described(client: Client) -> None:
    found = wait_for(lambda: _with_resources(client))
    assert (found.reachable, found.nodes, found.resources["CPU"]) == (True, 1, 2.0)


def _with_resources(client: Client) -> ClusterOut | None:
    """What a node has may be known a moment after the node is."""
    found = client.cluster()
    return found if found.resources else None


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_kill_9_of_the_service_at_random_moments_of_submissions_loses_and_doubles_no_job(
    kills: int, server: Server, client: Client
) -> None:
    """Each submission is repeated with its Idempotency-Key until it is answered; the service dies at random moments."""
    chance, names = random.Random(5), [f"kill{kills}-{number}" for number in range(kills)]
    with ThreadPoolExecutor(kills) as pool:
        answers = []
        for name in names:
            answers.append(pool.submit(_until_answered, server, {"kind": "count", "name": name, "seconds": 0.01}))
            time.sleep(chance.random() * MOST_SECONDS_BETWEEN_KILLS)
            server.kill()
            server.start()
        made = [answer.result() for answer in answers]
    assert [ended(client, job_id).status for job_id in made] == ["succeeded"] * kills
    assert len(set(made)) == kills
    assert sorted(job.name for job in client.jobs(kind="count") if job.id in made) == sorted(names)
    assert sum(job.name in names for job in client.jobs()) == kills
    starts = Path(server.settings.workspace).glob(f"runs/*/kill{kills}-*/started")
    assert [len(start.read_text().splitlines()) for start in starts] == [1] * kills


def _until_answered(server: Server, spec: dict[str, object]) -> str:
    """The job's id. A second submission of the same specification, under another key, would be another job."""
    headers = {"Authorization": f"Bearer {server.key}", "Idempotency-Key": f"only-{spec['name']}"}

    def send() -> str | None:
        try:
            answer = httpx.post(f"http://127.0.0.1:{server.port}/v1/jobs", json={"spec": spec}, headers=headers)
        except httpx.TransportError:
            return None
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    return wait_for(send)

"""The control plane on a real Ray with token authentication: the life of a job, kills, `ray job submit`."""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.client import Client
from api.local_ray import local_ray
from api.schemas import JobOut
from api.settings import Settings
from api.states import ENDED
from tests.integration.api.serving import Server, free_port, key_of, wait_for

pytestmark = pytest.mark.integration


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
        lease_seconds=2,
        active_jobs=2,
        grace_seconds=20,
        stop_seconds=20,
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


def ended(client: Client, job_id: str, seconds: float = 90) -> JobOut:
    def look() -> JobOut | None:
        job = client.job(job_id)
        return job if job.status in ENDED else None

    found = wait_for(look, seconds)
    assert found is not None
    return found


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
    assert [event.type for event in client.events(job.id)][:3] == ["created", "queued", "starting"]


def test_cancel_writes_a_checkpoint_and_resume_goes_on_from_it(client: Client) -> None:
    job = client.submit({"kind": "count", "name": "stopped", "steps": 30, "seconds": 0.2})
    wait_for(lambda: client.metrics(job.id).data)
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
    assert [row["step"] for row in client.metrics(job.id).data] == list(range(30))


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
    found = client.cluster()
    assert (found.reachable, found.nodes, found.resources["CPU"]) == (True, 1, 2.0)


def test_kill_9_of_the_service_during_submissions_loses_and_doubles_no_job(server: Server, client: Client) -> None:
    """Each submission is repeated with its Idempotency-Key until it is answered; the service dies at random moments."""
    chance, made, stop = random.Random(5), [], threading.Event()

    def submit() -> None:
        for number in range(8):
            spec = {"kind": "count", "name": f"kill{number}", "steps": 1, "seconds": 0.01}
            made.append(_until_answered(server, spec, f"kill-{number}"))
            time.sleep(chance.random() * 0.5)
        stop.set()

    thread = threading.Thread(target=submit)
    thread.start()
    kills = 0
    while not stop.is_set():
        time.sleep(chance.random() * 1.5)
        server.kill()
        kills += 1
        server.start()
    thread.join()
    for job_id in made:
        assert ended(client, job_id, 120).status == "succeeded"
    assert kills >= 2
    assert len(set(made)) == 8
    names = [job.name for job in client.jobs(kind="count") if job.name.startswith("kill")]
    assert sorted(names) == [f"kill{number}" for number in range(8)]
    starts = list(Path(server.settings.workspace).glob("runs/*/kill*/started"))
    assert sorted(len(start.read_text().splitlines()) for start in starts) == [1] * 8


def _until_answered(server: Server, spec: dict[str, object], key: str) -> str:
    headers = {"Authorization": f"Bearer {server.key}", "Idempotency-Key": key}

    def send() -> str | None:
        try:
            answer = httpx.post(f"http://127.0.0.1:{server.port}/v1/jobs", json={"spec": spec}, headers=headers)
        except httpx.TransportError:
            return None
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    found = wait_for(send)
    assert found is not None
    return found

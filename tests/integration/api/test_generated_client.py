"""A client that openapi-python-client generates from the document submits what the document names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.serving import Server, key_of, repository
from trialign_api.openapi import COMMITTED
from trialign_api.settings import Settings
from trialign_ray.cluster.ports import free_port

GENERATOR = repository() / ".client-venv" / "bin" / "openapi-python-client"
"""In an environment of its own: it asks for other versions of what the service is made of."""
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not GENERATOR.exists(), reason="no generator; `make .client-venv/installed` installs it"),
]
SUBMIT = """
import json, sys
from trialign_client import AuthenticatedClient
from trialign_client.api.jobs import create_job
from trialign_client.models import AuditSpec, JobCreate, LoraSpec, TrainSpec

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
audit = AuditSpec(kind="audit", name="one", model="m", questions="q.yaml", groups="g.yaml", fail_if=["gap.low>0.05"])
train = TrainSpec(kind="train", name="two", model="m", logs="logs", lora=LoraSpec(rank=4))
made = [create_job.sync(client=client, body=JobCreate(spec=spec)) for spec in (audit, train)]
print(json.dumps([[job.id, job.status, job.spec.to_dict()] for job in made]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Without a Ray: to take a job needs none."""
    (tmp_path / "work").mkdir()
    settings = Settings(data=tmp_path / "data", workspace=str(tmp_path / "work"), ray_address="http://127.0.0.1:9")
    found = Server(settings, free_port(), key_of(settings))
    found.start()
    yield found
    found.stop()


def test_a_generated_client_submits_jobs_of_two_kinds(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "trialign_client"
    said = run(GENERATOR, "generate", "--path", COMMITTED, "--meta", "none", "--output-path", target, cwd=tmp_path)
    assert "endpoint" not in said.lower()  # those that it could not make
    url = f"http://127.0.0.1:{server.port}"
    made = json.loads(run(GENERATOR.with_name("python"), "-c", SUBMIT, url, server.key, cwd=tmp_path))
    assert [(status, spec["kind"], spec["name"]) for _, status, spec in made] == [
        ("validating", "audit", "one"),
        ("validating", "train", "two"),
    ]
    with server.client() as client:
        kept = {job.id: job.spec for job in client.jobs()}
    assert kept == {job_id: spec for job_id, _, spec in made}
    assert kept[made[1][0]]["lora"]["rank"] == 4


def run(*command: Any, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

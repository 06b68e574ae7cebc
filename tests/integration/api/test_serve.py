"""`serve` and `jobs` as a user runs them, with a Ray of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.integration.api.serving import SECONDS, free_port, repository, wait_for

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-c", "import typer, api.cli; a = typer.Typer(); api.cli.register(a); a()"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a caller of a running `serve`."""
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TRIALIGN_"))}
    env |= {"PYTHONPATH": str(repository()), "TRIALIGN_URL": f"http://127.0.0.1:{port}", "COLUMNS": "200"}
    env["PYTHONUNBUFFERED"] = "1"
    command = [*COMMAND, "serve", "--port", str(port), "--cpus", "1"]
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = {name: next(process.stdout) for name in ("key", "plane", "ray")}
        wait_for(lambda: _answers(env["TRIALIGN_URL"]))
        yield env | {"TRIALIGN_KEY": said["key"].split()[-1], "RAY": said["ray"].split()[-1], "PWD": str(folder)}
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)
    wait_for(lambda: not _answers(said["ray"].split()[-1]))


def _answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/readyz")
    except httpx.TransportError:
        return False
    return True


def run(env: dict[str, str], *arguments: str, status: int = 0) -> str:
    done = subprocess.run([*COMMAND, *arguments], env=env, cwd=env["PWD"], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_the_first_key_is_an_admins_and_ray_needs_its_token(served: dict[str, str]) -> None:
    auth = {"Authorization": f"Bearer {served['TRIALIGN_KEY']}"}
    with httpx.Client(timeout=SECONDS, headers=auth) as caller:
        url = f"{served['TRIALIGN_URL']}/v1/cluster"
        # What a node has may be known a moment after the node is.
        cluster = wait_for(lambda: next((found for found in [caller.get(url).json()] if found["resources"]), None))
        assert (cluster["reachable"], cluster["resources"]["CPU"]) == (True, 1.0)
        assert caller.get(f"{served['TRIALIGN_URL']}/v1/audit").status_code == 200
    assert httpx.get(f"{served['RAY']}/api/jobs/", timeout=SECONDS).status_code == 401
    assert Path(served["PWD"], "trialign-data", "ray-token").stat().st_mode & 0o077 == 0


def test_a_job_is_submitted_listed_shown_and_followed_to_its_end(served: dict[str, str]) -> None:
    spec = {
        "kind": "audit",
        "name": "baseline",
        "answers": "answers.jsonl",
        "questions": "none.json",
        "groups": "g.yaml",
    }
    Path(served["PWD"], "audit.yaml").write_text(yaml.safe_dump(spec))
    job_id = run(served, "jobs", "submit", "audit.yaml", "--label", "team=x").strip()
    assert re.fullmatch(r"job-[0-9a-f]{28}", job_id)
    assert "failed: bad_spec" in run(served, "jobs", "logs", job_id, "-f", status=1)
    assert job_id in run(served, "jobs", "list", "--status", "failed")
    assert "none.json: cannot be read" in run(served, "jobs", "show", job_id)

"""The control plane as a user meets it: `trialign serve`, a training run by REST, the same one by `ray job submit`."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import torch
import yaml
from httpx_sse import EventSource
from peft import PeftModel
from playwright.sync_api import expect
from transformers import AutoModelForCausalLM

from tests.browser import Seen, chromium
from tests.integration.api.serving import ended, ready, wait_for
from tests.unit.api.test_datasets import lines
from tests.world import World
from trialign_api.client import Client
from trialign_api.schemas import JobOut
from trialign_ray.cluster.ports import free_port
from trialign_ray.data.dataset import read_logs

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 500.0
"""Most that anything takes on a machine that does other things too."""
STEPS = 200
"""Many more than are done between the order to stop and the stop."""
ONE_RANK = {"workers": 1, "cpus_per_worker": 0.5, "dtype": "float32"}
"""Each rank, at each start, imports for ten seconds of a processor."""


@dataclass(frozen=True)
class Served:
    """A running `trialign serve`, in whose folder the world lies."""

    world: World
    url: str
    key: str
    ray: str
    process: subprocess.Popen[str]

    @property
    def token(self) -> Path:
        """The file with the token that its Ray asks for."""
        return self.world.folder / "trialign-data" / "ray-token"

    def run(self, folder: Path, *arguments: str, status: int = 0) -> str:
        """What `trialign` prints in `folder`, to a user of this service."""
        env = _clean() | {"TRIALIGN_URL": self.url, "TRIALIGN_KEY": self.key, "COLUMNS": "200"}
        command = [str(BIN / "trialign"), *arguments]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def client(self) -> Client:
        return Client(self.url, self.key)

    def stream(self, job_id: str, place: str | None = None) -> Iterator[tuple[str, str, str | None]]:
        """Server-sent events (event, data, id) of the job's log behind `place`."""
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Last-Event-ID": place} if place else {})
        url = f"{self.url}/v1/jobs/{job_id}/logs/stream"
        with httpx.stream("GET", url, headers=headers, timeout=SECONDS) as answer:
            assert answer.status_code == 200
            for event in EventSource(answer).iter_sse():
                yield event.event, event.data, event.id or None

    def spec(self, name: str) -> dict[str, Any]:
        """A training run of `STEPS` steps, with places from the workspace on; no checkpoint before the last step."""
        spec = self.world.train_spec(
            name, model="model", logs="logs", runs="runs", learner=ONE_RANK, epochs=STEPS // 2, checkpoint_every=1000
        )
        return spec.model_dump(mode="json")


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Served]:
    port = free_port()
    env = _clean() | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TRIALIGN_RECONCILE_SECONDS": "0.3"}
    command = [str(BIN / "trialign"), "serve", "--port", str(port), "--cpus", "4"]
    with subprocess.Popen(command, cwd=world.folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        key, _, ray = (next(process.stdout).split()[-1] for _ in range(3))
        found = Served(world, f"http://127.0.0.1:{port}", key, ray, process)
        wait_for(lambda: ready(found.url), SECONDS)
        yield found
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def _clean() -> dict[str, str]:
    """An environment that knows of no Ray and no control plane."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TRIALIGN_"))}


@pytest.fixture(scope="module")
def by_hand(served: Served) -> str:
    """The run of the same specification that nobody disturbs, given to Ray itself; its submission id."""
    spec = served.spec("reward") | {"runs": "by-hand"}
    file = served.world.folder / "reward.yaml"
    file.write_text(yaml.safe_dump(spec))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(served.token)}
    train = [sys.executable, str(ROOT / "jobs" / "train.py"), str(file)]
    train += [f"--set={field}={served.world.folder / spec[field]}" for field in ("model", "logs", "runs")]
    command = [str(BIN / "ray"), "job", "submit", "--no-wait", "--submission-id=by-hand", "--address", served.ray]
    subprocess.run([*command, "--", *train], env=_clean() | token, check=True, capture_output=True, timeout=SECONDS)
    return "by-hand"


@pytest.fixture(scope="module")
def disturbed(served: Served, by_hand: str) -> JobOut:
    """The run that is submitted by REST; the first test cancels and resumes it."""
    auth = {"Authorization": f"Bearer {served.key}", "Idempotency-Key": "the-only-one"}
    body = {"spec": served.spec("reward"), "labels": {"team": "truth"}}
    answer = httpx.post(f"{served.url}/v1/jobs", json=body, headers=auth, timeout=60)
    assert answer.status_code == 201, answer.text
    return JobOut.model_validate_json(answer.content)


@pytest.fixture(scope="module")
def finished(served: Served, disturbed: JobOut) -> JobOut:
    with served.client() as client:
        done = ended(client, disturbed.id, SECONDS)
    assert done.status == "succeeded"
    return done


def trace(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in rows]


def read(events: Iterator[tuple[str, str, str | None]], stop: str) -> tuple[str, str | None]:
    """The log until `stop` is in it, or to its end, and where to go on."""
    said, place = "", None
    for event, data, found in events:
        place = found or place
        said += f"{data}\n" if event == "log" else ""
        if (event, data) == ("end", stop) or (event == "log" and stop in data):
            return said, place
    raise AssertionError(f"the stream ended without {stop!r}: {said}")


def test_a_run_cancelled_and_resumed_ends_with_the_losses_of_one_that_nobody_disturbed(
    served: Served, disturbed: JobOut
) -> None:
    job_id = disturbed.id
    with served.client() as client:
        said, place = read(served.stream(job_id), "training:")
        assert "4 questions x 3 groups" in said
        wait_for(lambda: len(client.metrics(job_id).data) > 2, SECONDS)
        early = client.groups(job_id)
        wait_for(lambda: len(client.groups(job_id).steps) > len(early.steps), SECONDS)
        client.cancel(job_id)
        said, place = read(served.stream(job_id, place), "cancelled")
        assert "Stopping: a checkpoint is written" in said
        assert "4 questions x 3 groups" not in said
        half = client.metrics(job_id).data
        assert len(early.steps) < len(half) < STEPS
        assert len(client.checkpoints(job_id)) == 1
        assert "adapter/adapter_model.safetensors" not in {file.name for file in client.artifacts(job_id)}
        client.resume(job_id)
        read(served.stream(job_id, place), "succeeded")
        done = client.job(job_id)
        assert (done.status, done.attempt, done.error) == ("succeeded", 2, None)
        whole = client.metrics(job_id).data
        assert whole[: len(half)] == half
        assert ended(client, next(client.jobs(kind="external")).id, SECONDS).status == "succeeded"
    undisturbed = served.world.folder / "by-hand" / "reward" / "metrics.jsonl"
    assert trace(whole) == trace([json.loads(line) for line in undisturbed.read_text().splitlines()])
    assert len(whole) == STEPS


def test_every_group_moves(served: Served, finished: JobOut) -> None:
    with served.client() as client:
        found = client.groups(finished.id)
    assert {group.name for group in found.groups} == {"neutral", "farmer", "professor"}
    for group in found.groups:
        for series in (group.utility, group.weight, group.accuracy, group.mass_right):
            assert len(series) == STEPS
        assert min(len(set(series)) for series in (group.utility, group.weight, group.mass_right)) > STEPS // 2
        assert None not in group.weight


def test_the_adapter_is_downloaded_and_changes_the_model_that_peft_loads_it_on(
    served: Served, finished: JobOut, tmp_path: Path
) -> None:
    with served.client() as client:
        names = [file.name for file in client.artifacts(finished.id) if file.name.startswith("adapter/")]
        assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(names)
        for name in names:
            client.download(finished.id, name, tmp_path / name)
    base = AutoModelForCausalLM.from_pretrained(served.world.model)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = base(tokens).logits.clone()
        adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")
        after = adapted(tokens).logits
    assert torch.isfinite(after).all()
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_job_of_ray_job_submit_is_listed_with_its_log(served: Served, by_hand: str) -> None:
    with served.client() as client:
        [job] = client.jobs(kind="external")
        assert (job.submission_id, ended(client, job.id, SECONDS).status) == (by_hand, "succeeded")
        assert "4 questions x 3 groups" in client.logs(job.id)
        assert client.events(job.id)[0].type == "imported"
        wait_for(lambda: len(client.groups(job.id).steps) == STEPS, SECONDS)
        assert {group.name for group in client.groups(job.id).groups} == {"neutral", "farmer", "professor"}
        assert "adapter/adapter_model.safetensors" in {file.name for file in client.artifacts(job.id)}


def test_the_page_shows_both_runs_with_their_curves_and_logs(served: Served, finished: JobOut, by_hand: str) -> None:
    seen = Seen()
    with served.client() as client, chromium() as browser:
        external = ended(client, next(client.jobs(kind="external")).id, SECONDS)
        page = seen.watch(browser.new_page())
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{served.url}/#key={served.key}")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("tbody tr").filter(has_text="succeeded")).to_have_count(2)
        for job in (finished, external):
            page.goto(f"{served.url}/#/jobs/{job.id}")
            weights = page.locator("figure").filter(has=page.get_by_role("heading", name="Fairness weight by group"))
            expect(weights.locator(".series path")).to_have_count(3)
            expect(page.get_by_role("log")).to_contain_text("4 questions x 3 groups")
        assert (seen.errors, failed) == ([], [])


def test_openais_client_drives_a_job_from_an_upload_to_the_adapter(served: Served, tmp_path: Path) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0, timeout=SECONDS) as client:
        logs = lines(*read_logs(served.world.logs).to_pylist())
        file = client.files.create(file=("logs.jsonl", logs), purpose="fine-tune")
        jobs = client.fine_tuning.jobs
        job = jobs.create(
            model="model",
            training_file=file.id,
            suffix="by-openai",
            method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3, "batch_size": 2}}},
            extra_body={"trialign": {"learner": ONE_RANK, "lora": {"rank": 4}, "checkpoint_every": 2}},
        )
        assert job.status == "validating_files"
        wait_for(lambda: jobs.retrieve(job.id).status in ("succeeded", "failed"), SECONDS)
        done = jobs.retrieve(job.id)
        assert (done.status, done.error) == ("succeeded", None)
        assert [one.step_number for one in jobs.checkpoints.list(job.id)] == [6, 4]
        assert jobs.list_events(job.id, limit=1).data[0].to_dict()["data"] == {"type": "succeeded"}
        adapter, metrics = (client.files.content(one).content for one in done.result_files)
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == list(range(1, 7))
    with tarfile.open(fileobj=io.BytesIO(adapter)) as archive:
        archive.extractall(tmp_path, filter="data")
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(served.world.model), tmp_path)


def test_nothing_that_it_starts_is_reached_from_another_machine(served: Served, finished: JobOut) -> None:
    family = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    heard = [(process.name(), address) for process in family for address in _listening(process)]
    assert len(heard) > 10
    assert [one for one in heard if not one[1].is_loopback] == []


def _listening(process: psutil.Process) -> list[IPv4Address | IPv6Address]:
    """Addresses, those of IPv4 as such; empty of a process that has ended."""
    with suppress(psutil.NoSuchProcess):
        listening = [one for one in process.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
        found = [ip_address(one.laddr.ip) for one in listening]
        return [(one.ipv4_mapped or one) if isinstance(one, IPv6Address) else one for one in found]
    return []


def test_who_has_rays_dashboard_alone_finds_the_job_too(served: Served, finished: JobOut) -> None:
    auth = {"Authorization": f"Bearer {served.token.read_text()}"}
    known = httpx.get(f"{served.ray}/api/jobs/", headers=auth, timeout=SECONDS).json()
    attempts = [job["metadata"] for job in known if job["submission_id"].startswith(finished.id)]
    assert [(found["trialign_job_id"], found["job_name"]) for found in attempts] == [(finished.id, "reward")] * 2


def test_the_first_key_is_an_admins_and_ray_needs_its_token(served: Served) -> None:
    auth = {"Authorization": f"Bearer {served.key}"}
    with httpx.Client(timeout=SECONDS, headers=auth) as caller:
        cluster = caller.get(f"{served.url}/v1/cluster").json()
        assert (cluster["reachable"], cluster["resources"]["CPU"]) == (True, 4.0)
        assert caller.get(f"{served.url}/v1/audit").status_code == 200
    assert httpx.get(f"{served.ray}/api/jobs/", timeout=SECONDS).status_code == 401
    assert served.token.stat().st_mode & 0o077 == 0


def test_a_job_is_submitted_listed_shown_and_followed_to_its_end_by_commands(served: Served, tmp_path: Path) -> None:
    spec = {"kind": "audit", "name": "baseline", "answers": "a.jsonl", "questions": "none.json", "groups": "g.yaml"}
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(spec))
    job_id = served.run(tmp_path, "jobs", "submit", "audit.yaml", "--label", "team=x").strip()
    assert re.fullmatch(r"job-[0-9a-f]{28}", job_id)
    assert "failed: bad_spec" in served.run(tmp_path, "jobs", "logs", job_id, "-f", status=1)
    assert job_id in served.run(tmp_path, "jobs", "list", "--status", "failed")
    assert "none.json: cannot be read" in served.run(tmp_path, "jobs", "show", job_id)


def test_ctrl_c_leaves_no_process(served: Served) -> None:
    family = psutil.Process(served.process.pid).children(recursive=True)
    assert any(process.name() == "raylet" for process in family)
    served.process.send_signal(signal.SIGINT)
    served.process.wait(SECONDS)
    _, alive = psutil.wait_procs(family, timeout=SECONDS)
    assert not alive

"""OpenAI's own client drives the service from an upload to the adapter."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.unit.api.fake import Plane
from tests.unit.api.test_datasets import lines
from tests.unit.api.test_history import metrics_row, write_metrics
from tests.unit.data.samples import row
from tests.world import World, make_world
from trialign_api.backend import RayStatus
from trialign_ray.data.dataset import read_logs

pytestmark = pytest.mark.anyio
LEARNER = {"workers": 1, "dtype": "float32"}


def sdk(control: Plane, auth: dict[str, str]) -> openai.AsyncOpenAI:
    """The client as a user makes it, on the application in this process; answers are held to its own types."""
    transport = httpx2.ASGITransport(app=control.app, raise_app_exceptions=False)
    return openai.AsyncOpenAI(
        api_key=auth["Authorization"].removeprefix("Bearer "),
        base_url="http://plane.test/v1",
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,
    )


@pytest.fixture
async def client(control: Plane) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(control, await control.key("ada", "submit")) as found:
        yield found


@pytest.fixture
def world(control: Plane) -> World:
    return make_world(Path(control.settings.workspace))


def logs_of(world: World) -> bytes:
    return lines(*read_logs(world.logs).to_pylist())


async def uploaded(client: openai.AsyncOpenAI, world: World) -> Any:
    return await client.files.create(file=("logs.jsonl", logs_of(world)), purpose="fine-tune")


async def created(client: openai.AsyncOpenAI, world: World, **given: Any) -> Any:
    file = await uploaded(client, world)
    given = {"extra_body": {"trialign": {"learner": LEARNER}}, **given}
    return await client.fine_tuning.jobs.create(model="model", training_file=file.id, **given)


def spec_of(control: Plane, at: int = 0) -> Any:
    return json.loads(control.backend.submissions[at].env["TRIALIGN_SPEC"])


def save_adapter(run: str) -> None:
    folder = Path(run, "adapter")
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 1000)


async def end(control: Plane, auth: dict[str, str], job_id: str) -> Any:
    """Ray runs the job to its end, and its run has an adapter and metrics."""
    job = await control.run(auth, job_id)
    write_metrics(job["run"], [metrics_row(0), metrics_row(1)])
    save_adapter(job["run"])
    control.backend.set(job["submission_id"], RayStatus.SUCCEEDED)
    await control.tick()
    return job


async def test_the_client_drives_from_upload_to_adapter(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        job = await created(
            client,
            world,
            suffix="demo",
            seed=3,
            metadata={"team": "assistants"},
            method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "batch_size": 2, "beta": 0.2}}},
        )
        assert (job.object, job.status, job.model, job.seed) == ("fine_tuning.job", "validating_files", "model", 3)
        assert isinstance(job.created_at, int)
        assert (job.organization_id, job.metadata, job.finished_at) == ("ada", {"team": "assistants"}, None)
        assert (job.method.type, job.method.dpo.hyperparameters.beta) == ("dpo", 0.2)
        await end(control, ada, "job-" + job.id.removeprefix("ftjob-"))
        spec = spec_of(control)
        assert (spec["kind"], spec["name"], spec["epochs"], spec["questions_per_step"]) == ("train", "demo", 2.0, 2)
        assert (spec["seed"], spec["algorithm"]["name"], spec["algorithm"]["beta"]) == (3, "dpo", 0.2)
        assert spec["learner"]["workers"] == 1
        done = await client.fine_tuning.jobs.retrieve(job.id)
        assert (done.status, done.error, done.training_file) == ("succeeded", None, job.training_file)
        assert done.fine_tuned_model == f"ft:model:ada:demo:{job.id.removeprefix('ftjob-')}"
        assert (done.finished_at or 0) >= done.created_at
        archive = await client.files.content(done.result_files[0])
        about = await client.files.retrieve(done.result_files[0])
        assert (about.bytes, about.purpose) == (len(archive.content), "fine-tune-results")
        with tarfile.open(fileobj=io.BytesIO(archive.content)) as opened:
            assert opened.getnames() == ["adapter_config.json", "adapter_model.safetensors"]
            weights = opened.extractfile("adapter_model.safetensors")
            assert weights is not None
            assert weights.read() == b"weights" * 1000
        metrics = (await client.files.content(done.result_files[1])).content
        assert [json.loads(line)["step"] for line in metrics.splitlines()] == [0, 1]


async def test_what_is_not_said_is_supervised_with_the_services_defaults(
    control: Plane, world: World, client: openai.AsyncOpenAI
) -> None:
    job = await created(client, world, hyperparameters={"learning_rate_multiplier": 2, "n_epochs": "auto"})
    await control.tick(2)
    spec = spec_of(control)
    assert (spec["algorithm"]["name"], spec["name"], spec["epochs"]) == ("sft", "ft", 1.0)
    assert spec["optimizer"]["learning_rate"] == pytest.approx(1e-3)
    assert (job.hyperparameters.n_epochs, job.hyperparameters.learning_rate_multiplier) == ("auto", 2.0)


async def test_reinforcement_is_the_services_own_algorithm_or_the_one_that_is_named(
    control: Plane, world: World, client: openai.AsyncOpenAI
) -> None:
    method = {"type": "reinforcement"}
    named = {"trialign": {"learner": LEARNER, "algorithm": {"name": "max_min"}}}
    for extra in ({"trialign": {"learner": LEARNER}}, named):
        job = await created(client, world, method=method, extra_body=extra)
        assert job.method.type == "reinforcement"
    await control.tick(3)
    assert [spec_of(control, at)["algorithm"]["name"] for at in (0, 1)] == ["trialign", "max_min"]


async def test_a_job_is_paused_resumed_and_cancelled(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        jobs = client.fine_tuning.jobs
        job = await created(client, world)
        ours = "job-" + job.id.removeprefix("ftjob-")
        running = await control.run(ada, ours)
        assert (await jobs.retrieve(job.id)).status == "running"
        assert (await jobs.pause(job.id)).status == "running"  # until it has written its checkpoint
        await control.tick(2)
        assert ((await jobs.retrieve(job.id)).status, (await control.job(ada, ours))["status"]) == (
            "paused",
            "cancelled",
        )
        assert control.backend.stopped == [running["submission_id"]]
        assert (await jobs.resume(job.id)).status == "validating_files"
        await control.tick(2)
        assert control.backend.submissions[-1].env["TRIALIGN_RESUME"] == "1"
        await jobs.pause(job.id)
        await control.tick(2)
        assert (await jobs.cancel(job.id)).status == "cancelled"
        assert (await jobs.retrieve(job.id)).finished_at is not None


async def test_lists_come_in_pages_the_newest_first(control: Plane, world: World, client: openai.AsyncOpenAI) -> None:
    made = [(await created(client, world)).id for _ in range(5)]
    page = await client.fine_tuning.jobs.list(limit=2)
    assert ([job.id for job in page.data], page.has_more) == ([made[4], made[3]], True)
    assert [job.id async for job in client.fine_tuning.jobs.list(limit=2)] == made[::-1]
    files = [file.id async for file in client.files.list(limit=2)]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == files[::-1]
    assert len(files) == 5
    assert [file.id async for file in client.files.list(purpose="questions")] == []


async def test_events_and_checkpoints_come_in_pages(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        job = await created(client, world)
        run = (await control.run(ada, "job-" + job.id.removeprefix("ftjob-")))["run"]
        write_metrics(run, [metrics_row(step) for step in range(1, 7)])
        for step in (2, 4, 6):
            folder = Path(run, "checkpoints", f"checkpoint_{step:06}")
            folder.mkdir(parents=True)
            (folder / "state.json").write_text(json.dumps({"step": step}))
        Path(run, "checkpoints", "checkpoint_torn").mkdir()
        await control.tick()
        events = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=2)]
        types = [event.data["type"] for event in events if isinstance(event.data, dict)]
        assert types == ["running", "starting", "queued", "created"]
        assert len({event.id for event in events}) == 4
        assert all((event.object, event.level) == ("fine_tuning.job.event", "info") for event in events)
        found = [one async for one in client.fine_tuning.jobs.checkpoints.list(job.id, limit=2)]
        assert [(one.step_number, one.metrics.train_loss) for one in found] == [(6, 1 / 7), (4, 1 / 5), (2, 1 / 3)]
        assert {one.fine_tuning_job_id for one in found} == {job.id}


async def test_what_cannot_be_mapped_is_refused_by_name(world: World, client: openai.AsyncOpenAI) -> None:
    file = await uploaded(client, world)
    grader = {"type": "reinforcement", "reinforcement": {"grader": {"type": "python"}}}
    other = {"type": "dpo", "supervised": {"hyperparameters": {"n_epochs": 1}}}
    both = {"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 1}}
    for given, param in (
        ({"validation_file": file.id}, "validation_file"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"suffix": "Not a run's name"}, "suffix"),
        ({"seed": 2**31}, "seed"),
        ({"metadata": {"Team": "x"}}, "metadata.Team"),
        ({"method": grader}, "method.reinforcement.grader"),
        ({"method": other}, "method.supervised"),
        (both, "hyperparameters"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
        ({"extra_body": {"trialign": {"logs": "logs"}}}, "trialign.logs"),
        ({"extra_body": {"trialign": {"learner": {"workers": 0}}}}, "trialign.learner.workers"),
        ({"extra_body": {"trialign": {"algorithm": {"name": "max_min"}}}}, "trialign.algorithm"),
        ({"extra_body": {"nonsense": 1}}, "nonsense"),
        ({"model": "/etc"}, "model"),
        ({"training_file": file.id[:-4] + "0000"}, "training_file"),
        ({"training_file": "logs"}, "training_file"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.fine_tuning.jobs.create(**{"model": "model", "training_file": file.id, **given})
        assert refused.value.param == param, (param, refused.value.body)
        assert refused.value.type == "invalid_request_error"


async def test_refusals_have_openais_shape(control: Plane, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.fine_tuning.jobs.retrieve("ftjob-" + "0" * 28)
    assert (missing.value.code, missing.value.param) == ("not_found", None)
    with pytest.raises(openai.AuthenticationError) as unknown:
        await client.with_options(api_key="tk_0").files.list()
    assert unknown.value.code == "unauthorized"
    async with sdk(control, await control.key("eve", "read")) as reader:
        with pytest.raises(openai.PermissionDeniedError):
            await reader.files.create(file=b"{}", purpose="fine-tune")
    with pytest.raises(openai.BadRequestError) as bad:
        await client.files.create(file=("x.jsonl", b"\x00nonsense"), purpose="fine-tune")
    assert bad.value.code in ("bad_data", "bad_row")
    with pytest.raises(openai.BadRequestError) as purpose:
        await client.files.create(file=("x.jsonl", b"{}"), purpose="vision")
    assert purpose.value.param == "purpose"


async def test_files_and_jobs_are_their_owners(control: Plane, world: World, client: openai.AsyncOpenAI) -> None:
    job = await created(client, world)
    async with sdk(control, await control.key("bob", "submit")) as bob:
        assert [one async for one in bob.files.list()] == []
        assert [one async for one in bob.fine_tuning.jobs.list()] == []
        for action in (
            bob.files.retrieve(job.training_file),
            bob.files.content(job.training_file),
            bob.files.delete(job.training_file),
            bob.fine_tuning.jobs.retrieve(job.id),
            bob.fine_tuning.jobs.cancel(job.id),
            bob.fine_tuning.jobs.pause(job.id),
            bob.fine_tuning.jobs.list_events(job.id),
            bob.fine_tuning.jobs.checkpoints.list(job.id),
            bob.files.retrieve(f"file-{job.id.removeprefix('ftjob-')}-adapter"),
        ):
            with pytest.raises(openai.NotFoundError):
                await action
        with pytest.raises(openai.BadRequestError) as refused:
            await bob.fine_tuning.jobs.create(model="model", training_file=job.training_file)
        assert refused.value.param == "training_file"


async def test_a_file_is_kept_as_it_was_until_it_is_deleted(
    control: Plane, world: World, client: openai.AsyncOpenAI
) -> None:
    file = await uploaded(client, world)
    assert (file.object, file.filename, file.status, file.status_details) == ("file", "logs.jsonl", "processed", None)
    assert (await client.files.content(file.id)).content == logs_of(world)
    job = await client.fine_tuning.jobs.create(model="model", training_file=file.id)
    with pytest.raises(openai.BadRequestError) as used:
        await client.files.delete(file.id)
    assert used.value.code == "in_use"
    await client.fine_tuning.jobs.cancel(job.id)
    assert (await client.files.delete(file.id)).deleted
    assert list((control.settings.data / "datasets").iterdir()) == []
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)


async def test_rows_that_were_set_aside_are_told(client: openai.AsyncOpenAI) -> None:
    rows = [row(), row(group="nurse_kenya", turn=0)]
    file = await client.files.create(file=("x.jsonl", lines(*rows)), purpose="fine-tune")
    assert (file.status_details or "").startswith("1 of 2 rows were set aside: row 2: field 'turn'")


async def test_a_request_with_an_idempotency_key_is_done_once(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        once = {"Idempotency-Key": "one"}
        logs = ("logs.jsonl", logs_of(world))
        first, again = [await client.files.create(file=logs, purpose="fine-tune", extra_headers=once) for _ in range(2)]
        assert first.id == again.id
        assert len(list((control.settings.data / "datasets").iterdir())) == 1
        jobs = [
            await client.fine_tuning.jobs.create(model="model", training_file=first.id, extra_headers=once)
            for _ in range(2)
        ]
        assert jobs[0].id == jobs[1].id
        with pytest.raises(openai.ConflictError) as other:
            await client.fine_tuning.jobs.create(model="model", training_file=first.id, seed=1, extra_headers=once)
        assert other.value.response.headers["x-should-retry"] == "false"


async def test_where_all_weights_are_trained_the_model_is_downloaded(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        job = await created(client, world)
        run = (await end(control, ada, "job-" + job.id.removeprefix("ftjob-")))["run"]
        Path(run, "adapter").rename(Path(run, "model"))
        Path(run, "model", "model.safetensors.index.json").write_text("{}")
        Path(run, "model", "pickle.bin").write_text("no")
        done = await client.fine_tuning.jobs.retrieve(job.id)
        archive = (await client.files.content(done.result_files[0])).content
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            assert "model.safetensors.index.json" in opened.getnames()
            assert "pickle.bin" not in opened.getnames()

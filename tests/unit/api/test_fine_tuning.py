"""Training jobs in OpenAI's shape, whatever their specifications and runs hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.unit.api.fake import Plane
from tests.unit.api.test_history import metrics_row, write_metrics
from tests.unit.api.test_openai import LEARNER, created, sdk
from tests.world import World, make_world
from trialign_api.backend import RayStatus
from trialign_api.store.models import Job

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(control: Plane) -> World:
    return make_world(Path(control.settings.workspace))


async def test_numbers_that_came_as_text_are_told_as_numbers(control: Plane, world: World) -> None:
    """YAML reads `1e-5` as text, and `--set` sends text."""
    ada = await control.key("ada", "submit")
    spec: dict[str, Any] = {"kind": "train", "name": "x", "model": "model", "logs": "logs", "learner": LEARNER}
    spec |= {"optimizer": {"learning_rate": "1e-5"}, "epochs": "2", "questions_per_step": "4", "seed": "3"}
    spec |= {"algorithm": {"name": "dpo", "beta": "0.2"}}
    answer = await control.client.post("/v1/jobs", json={"spec": spec}, headers=ada)
    assert answer.status_code == 201, answer.text
    async with sdk(control, ada) as client:
        listed: list[Any] = [one async for one in client.fine_tuning.jobs.list()]
    [job] = listed
    given = job.hyperparameters
    assert (given.n_epochs, given.batch_size, given.learning_rate_multiplier) == (2.0, 4, pytest.approx(0.02))
    assert (job.seed, job.training_file, job.method.dpo.hyperparameters.beta) == (3, "logs", 0.2)


async def test_one_stored_specification_that_is_none_breaks_no_list(control: Plane, world: World) -> None:
    ada, admin = await control.key("ada", "submit"), await control.key("root", "admin")
    async with sdk(control, ada) as client:
        odd, well = await created(client, world), await created(client, world)
    stored = {"kind": "train", "model": "m", "optimizer": "odd", "epochs": [], "seed": {}, "algorithm": 3}
    async with control.store.writes() as session:
        await session.execute(update(Job).where(Job.id == odd.id.replace("ftjob", "job")).values(spec=stored))
    for auth in (ada, admin):
        async with sdk(control, auth) as client:
            listed = {job.id: job async for job in client.fine_tuning.jobs.list()}
            assert set(listed) == {odd.id, well.id}
            assert (listed[odd.id].model, listed[odd.id].hyperparameters.n_epochs) == ("m", "auto")


async def test_a_loss_that_is_no_number_breaks_no_list(control: Plane, world: World) -> None:
    """Whoever may write a run's folder may write anything into it."""
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        job = await created(client, world)
        run = (await control.run(ada, job.id.replace("ftjob", "job")))["run"]
        write_metrics(run, [metrics_row(1, loss="low")])
        folder = Path(run, "checkpoints", "checkpoint_000001")
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"step": 1}))
        await control.tick()
        [found] = [one async for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert (found.step_number, found.metrics.train_loss) == (1, None)


async def test_a_job_that_succeeds_before_it_is_paused_has_ended(control: Plane, world: World) -> None:
    ada = await control.key("ada", "submit")
    async with sdk(control, ada) as client:
        job = await created(client, world)
        ours = job.id.replace("ftjob", "job")
        running = await control.run(ada, ours)
        await client.fine_tuning.jobs.pause(job.id)
        control.backend.set(running["submission_id"], RayStatus.SUCCEEDED)
        await control.tick()
        done = await control.job(ada, ours)
        assert (done["status"], done["paused"]) == ("succeeded", False)
        async with control.store.writes() as session:  # as an older release has stored it
            await session.execute(update(Job).where(Job.id == ours).values(paused=True))
        told = await client.fine_tuning.jobs.retrieve(job.id)
        assert (told.status, told.finished_at is not None) == ("succeeded", True)

"""Whole runs on a local Ray: the loop, its resumption, and what happens when a process dies in mid-step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import beside, kill_one
from tests.processes import GROUP, LEARNER
from tests.world import LONG, LONG_STEPS, Losses, World, losses, steps
from trialign_ray.config.train import TrainSpec
from trialign_ray.entrypoints.train import train
from trialign_ray.errors import CheckpointError, SpecError
from trialign_ray.evaluation.report.report import TrainingReport, from_json
from trialign_ray.io.run_folder import RunFolder
from trialign_ray.trainer.local import LocalTraining
from trialign_ray.trainer.resolve import resolve

pytestmark = pytest.mark.integration


def test_run_leaves_adapter_metrics_and_report(undisturbed_run: TrainSpec) -> None:
    outcome = train(undisturbed_run, resume=True)
    folder = Path(outcome.folder)
    assert outcome.finished
    assert outcome.step == LONG_STEPS
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert (folder / "report.html").stat().st_size > 10_000
    report = from_json((folder / "report.json").read_text())
    assert isinstance(report, TrainingReport)
    assert isinstance(outcome.report, TrainingReport)
    assert set(report.base.accuracy_by_group) == {"neutral", "farmer", "professor"}
    assert [row["step"] for row in steps(undisturbed_run)] == list(range(1, LONG_STEPS + 1))
    assert any((folder / "tensorboard").iterdir())


@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
def test_killed_processes_do_not_change_the_losses_of_a_run_that_resume_began(
    world: World, undisturbed: Losses
) -> None:
    spec = world.train_spec("killed", **LONG)
    with beside(spec, lambda: kill_one(LEARNER), lambda: kill_one(GROUP)):
        outcome = train(spec, resume=True)
    assert (outcome.finished, outcome.step) == (True, LONG_STEPS)
    assert losses(spec) == undisturbed


@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
def test_all_weights_are_trained_also_after_an_actor_lost_what_no_weights_give_again(world: World) -> None:
    given = world.train_spec("full", **LONG, evaluation=world.evaluation).model_dump(
        exclude_unset=True, exclude={"lora"}
    )
    spec = TrainSpec.model_validate(given | {"adapter": "full", "optimizer": {"learning_rate": 0.002}})
    with beside(spec, lambda: kill_one(GROUP)):
        outcome = train(spec, resume=True)
    folder = Path(outcome.folder)
    assert (folder / "model" / "model.safetensors").is_file()
    assert not (folder / "adapter").exists()
    assert isinstance(outcome.report, TrainingReport)
    alone = LocalTraining.of(resolve(spec, RunFolder.of(spec))).steps()
    steps_done, found = zip(*losses(spec), strict=True)
    assert steps_done == tuple(range(1, LONG_STEPS + 1))
    assert found == pytest.approx([float(result.outputs.loss.detach()) for result in alone], abs=1e-4)


@pytest.mark.usefixtures("local_ray")
def test_weights_that_are_split_while_they_are_loaded_give_the_losses_of_one_rank(
    world: World,
) -> None:
    learner = {"workers": 2, "cpus_per_worker": 0.5, "dtype": "float32", "zero_stage": 3}
    spec = world.train_spec("split", learner=learner, epochs=3)
    folder = Path(train(spec).folder)
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    alone = LocalTraining.of(resolve(spec, RunFolder.of(spec))).steps()
    expected = [float(result.outputs.loss.detach()) for result in alone]
    assert [loss for _, loss in losses(spec)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("local_ray")
def test_run_is_not_started_twice_by_accident(undisturbed_run: TrainSpec) -> None:
    with pytest.raises(CheckpointError, match="--resume"):
        train(undisturbed_run)
    with pytest.raises(CheckpointError, match="'seed'"):
        train(undisturbed_run.model_copy(update={"seed": 5}), resume=True)


def test_too_large_a_step_is_refused_before_anything_starts(world: World) -> None:
    with pytest.raises(SpecError, match="questions_per_step"):
        train(world.train_spec("large", questions_per_step=100))

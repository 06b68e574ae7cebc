"""Whole runs on a local Ray: the loop, its resumption, and what happens when a process dies in mid-step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import GROUP, LEARNER, beside, kill_one
from tests.world import LONG, Losses, World, losses, steps
from trialign_ray.entrypoints.train import train
from trialign_ray.errors import CheckpointError, SpecError
from trialign_ray.evaluation import from_json
from trialign_ray.evaluation.report.report import TrainingReport

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("local_ray")]


def test_run_leaves_adapter_metrics_and_report(world: World) -> None:
    evaluation = {"questions": world.questions, "groups": world.groups, "max_new_tokens": 8, "bootstrap": 100}
    spec = world.train_spec("whole", evaluation=evaluation, epochs=8)
    outcome = train(spec)
    folder = Path(outcome.folder)
    assert outcome.finished
    assert outcome.step == 16
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert (folder / "report.html").stat().st_size > 10_000
    report = from_json((folder / "report.json").read_text())
    assert isinstance(report, TrainingReport)
    assert set(report.base.accuracy_by_group) == {"neutral", "farmer", "professor"}
    assert [row["step"] for row in steps(spec)] == list(range(1, 17))
    assert any((folder / "tensorboard").iterdir())


def test_what_one_group_knows_reaches_the_others(world: World) -> None:
    spec = world.train_spec("spread", epochs=20, checkpoint_every=100)
    train(spec)
    per_step = [row["groups"] for row in steps(spec)]
    for group in ("neutral", "professor"):
        right = [groups[group]["mass_right"] for groups in per_step]
        assert sum(right[-4:]) / 4 > sum(right[:4]) / 4 + 0.1


@pytest.mark.parametrize("victim", [LEARNER, GROUP])
def test_killed_process_does_not_change_the_losses(victim: str, world: World, undisturbed: Losses) -> None:
    spec = world.train_spec("killed-" + victim[5:].lower(), **LONG)
    with beside(spec, lambda: kill_one(victim)):
        train(spec)
    assert losses(spec) == undisturbed


def test_run_is_not_started_twice_by_accident(world: World, undisturbed: Losses) -> None:
    with pytest.raises(CheckpointError, match="--resume"):
        train(world.train_spec("undisturbed", **LONG))
    with pytest.raises(CheckpointError, match="'seed'"):
        train(world.train_spec("undisturbed", **LONG | {"seed": 5}), resume=True)


def test_resume_of_a_run_that_never_began_begins_it(world: World) -> None:
    spec = world.train_spec("never-began", epochs=1)
    outcome = train(spec, resume=True)
    assert (outcome.finished, outcome.step) == (True, 2)


def test_too_large_a_step_is_refused_before_anything_starts(world: World) -> None:
    with pytest.raises(SpecError, match="questions_per_step"):
        train(world.train_spec("large", questions_per_step=100))

"""A critic under ZeRO: rank 0 fits it, all ranks have it, and a run that goes on from a checkpoint has it too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.integration.trainer.conftest import RANKS, Ranks
from tests.integration.trainer.test_zero import OPTIMIZER, policy, settings
from tests.shares import random_shares
from tests.world import World
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.train import TrainSpec
from trialign_ray.data.dataset import open_dataset
from trialign_ray.trainer.resolve import plan_training

pytestmark = pytest.mark.integration

STEPS = 4


def omiga_steps(spec: TrainSpec, folder: Path, first: int, end: int) -> tuple[list[float], bool]:
    """Losses of the steps from `first` to `end`, and whether all ranks have the same critic.

    A checkpoint is read from `folder` unless `first` is 0, and written there at the end.
    """
    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer import checkpoint
    from trialign_ray.trainer.critic_games import fit_critic
    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    learner, objective = settings(2, RANKS), compose(spec.algorithm)
    engine = initialize(policy(learner), OPTIMIZER, learner, STEPS, 1)
    stepper = Learner(engine, objective, first_utilities(3))
    if first:
        state = checkpoint.load(folder, engine)
        checkpoint.load_critic(folder, objective.critic)
        stepper.utility_g = torch.tensor(state.utility, dtype=torch.float64)
    else:
        fit_critic(objective.critic, plan_training(spec, open_dataset(spec.logs)), spec, engine.device)
    losses = [float(stepper.step(random_shares(step)).outputs.loss.detach()) for step in range(first, end)]
    utility, weight = stepper.utility_g.tolist(), stepper.weight_g.tolist()
    checkpoint.save(folder, engine, checkpoint.TrainingState(end, utility, weight, [], RANKS), objective.critic)
    assert objective.critic is not None
    learnt = [value.tolist() for value in objective.critic.state_dict().values()]
    everyones: list[object] = [None] * RANKS
    dist.all_gather_object(everyones, learnt)
    return losses, all(each == learnt for each in everyones)


def test_a_run_that_goes_on_has_the_losses_of_one_that_was_never_stopped(
    world: World, tmp_path: Path, ranks: Ranks
) -> None:
    spec = world.train_spec("critic", algorithm={"name": "omiga", "critic": {"steps": 50, "hidden": 8, "gamma": 0.9}})
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    losses, same = ranks.run(omiga_steps, spec, whole, 0, STEPS)
    before, _ = ranks.run(omiga_steps, spec, stopped, 0, 2)
    after, same_again = ranks.run(omiga_steps, spec, stopped, 2, STEPS)
    assert same
    assert same_again
    assert [*before, *after] == pytest.approx(losses, abs=1e-6)

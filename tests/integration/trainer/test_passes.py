"""A step in several passes is the step in one: on two and three ranks, at every stage, with uneven passes."""

from __future__ import annotations

from typing import Any, Literal

import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist

from tests.integration.trainer.conftest import Ranks
from tests.plain import plain_train
from tests.shares import random_shares
from tests.tiny import tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.data.batch import GroupBatch
from trialign_ray.objective.step import first_utilities
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.passes import Budget, divide
from trialign_ray.trainer.policy import Policy, adapt

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_thread")]

STEPS, TOKENS = 3, 25
OPTIMIZER = OptimizerSpec(learning_rate=1e-2, clip_norm=0.5)
ALGORITHM = TrialignSpec(kl=0.1, utility_decay=0.5)
"""With a reference, which is scored pass by pass too."""

Stage = Literal[1, 2, 3]
Trained = tuple[list[float], list[npt.NDArray[Any]], int]


def shares_of(step: int) -> list[GroupBatch]:
    return random_shares(step, questions=4)


def policy() -> Policy:
    made = adapt(tiny_model(), LoraSpec(rank=4), LearnerSpec(dtype="float32"), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.trainable():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def zero_train(stage: Stage, tokens: int) -> Trained:
    """Losses, adapter, and passes of the first step."""
    import deepspeed

    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    learner = LearnerSpec(workers=dist.get_world_size(), zero_stage=stage, dtype="float32")
    made = policy()
    stepper = Learner(
        initialize(made, OPTIMIZER, learner, STEPS, 1), compose(ALGORITHM), first_utilities(3), Budget.of_tokens(tokens)
    )
    results = [stepper.step(shares_of(step)) for step in range(STEPS)]
    with deepspeed.zero.GatheredParameters(made.trainable()):
        weights = [parameter.detach().clone().numpy() for parameter in made.trainable()]
    return [float(each.outputs.loss.detach()) for each in results], weights, results[0].passes


def check(found: Trained) -> None:
    losses, weights, passes = found
    assert passes > 2
    plain_losses, parameters = plain_train(policy(), ALGORITHM, OPTIMIZER, map(shares_of, range(STEPS)), STEPS)
    assert losses == pytest.approx(plain_losses, abs=1e-5)
    for ours, expected in zip(weights, parameters, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_two_ranks_take_the_steps_of_the_plain_loop(stage: Stage, ranks: Ranks) -> None:
    check(ranks.run(zero_train, stage, TOKENS))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_three_ranks_take_the_steps_of_the_plain_loop(stage: Stage, three_ranks: Ranks) -> None:
    check(three_ranks.run(zero_train, stage, TOKENS))


def test_the_passes_are_uneven() -> None:
    """Without which the tests above would say less."""
    for ranks in (2, 3):
        divided = [divide(assemble(shares_of(step)).trees, ranks, Budget.of_tokens(TOKENS)) for step in range(STEPS)]
        assert any(() in parts for each in divided for parts in each.indices)

"""The ZeRO learner takes the same steps as a plain torch loop, at every stage and over two ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy.typing as npt
import pytest
import torch

from tests.integration.trainer.conftest import RANKS, Ranks
from tests.plain import plain_train
from tests.shares import random_shares
from tests.tiny import tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import AlgorithmSpec, DpoSpec, TrialignSpec
from trialign_ray.config.losses import AwrSpec, CandidateLossSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.trainer.policy import Policy, adapt

pytestmark = pytest.mark.integration

STEPS = 4
OPTIMIZER = OptimizerSpec(learning_rate=1e-2, clip_norm=0.5)


ALGORITHMS: list[AlgorithmSpec] = [
    TrialignSpec(loss=AwrSpec(), kl=0.1, utility_decay=0.5),
    TrialignSpec(loss=CandidateLossSpec(), kl=0.1, utility_decay=0.5),
    DpoSpec(name="dpo"),
]


Again = Literal[False, True, "selective"]


def settings(
    stage: Literal[1, 2, 3], workers: int, dtype: Literal["bfloat16", "float32"] = "float32", again: Again = False
) -> LearnerSpec:
    return LearnerSpec(workers=workers, zero_stage=stage, dtype=dtype, activation_checkpointing=again)


def policy(learner: LearnerSpec, groups: tuple[str, ...] = ()) -> Policy:
    model = tiny_model().to(getattr(torch, learner.dtype))
    made = adapt(model, LoraSpec(rank=4), learner, seed=1, groups=groups)
    # A fresh LoRA has B = 0, which would hide half of the gradients.
    generator = torch.Generator().manual_seed(2)
    for parameter in made.trainable():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def zero_train(
    stage: Literal[1, 2, 3],
    algorithm: AlgorithmSpec,
    groups: tuple[str, ...] = (),
    questions: int = 4,
    dtype: Literal["bfloat16", "float32"] = "float32",
    again: Again = False,
) -> tuple[list[float], list[npt.NDArray[Any]]]:
    """Losses of the steps, and the adapter's parameters after the last."""
    import deepspeed

    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer import recompute
    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    recompute.SUMMED = 5  # of a tiny model's products all but those of adapters
    learner = settings(stage, RANKS, dtype, again)
    made = policy(learner, groups)
    engine = initialize(made, OPTIMIZER, learner, STEPS, 1)
    stepper = Learner(engine, compose(algorithm), first_utilities(3))
    shares = [random_shares(step, questions=questions) for step in range(STEPS)]
    losses = [float(stepper.step(each).outputs.loss.detach()) for each in shares]
    with deepspeed.zero.GatheredParameters(made.trainable()):
        return losses, [parameter.detach().float().numpy() for parameter in made.trainable()]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_rank_without_trees_of_a_group_trains_its_adapter_too(stage: Literal[1, 2, 3], ranks: Ranks) -> None:
    """One question, three trees, two ranks: each rank lacks a group."""
    groups, algorithm = ("neutral", "farmer", "professor"), ALGORITHMS[0]
    zero_losses, zero_parameters = ranks.run(zero_train, stage, algorithm, groups, 1)
    shares = [random_shares(step, questions=1) for step in range(STEPS)]
    losses, parameters = plain_train(policy(settings(1, 1), groups), algorithm, OPTIMIZER, shares, STEPS)
    assert zero_losses == pytest.approx(losses, abs=1e-5)
    for ours, reference in zip(zero_parameters, parameters, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), reference, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["awr", "candidate", "dpo"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_equals_plain_loop(stage: Literal[1, 2, 3], algorithm: AlgorithmSpec, ranks: Ranks) -> None:
    zero_losses, zero_parameters = ranks.run(zero_train, stage, algorithm)
    losses, parameters = plain_train(
        policy(settings(1, 1)), algorithm, OPTIMIZER, map(random_shares, range(STEPS)), STEPS
    )
    assert zero_losses == pytest.approx(losses, abs=1e-5)
    for ours, reference in zip(zero_parameters, parameters, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), reference, atol=2e-5, rtol=1e-4)
    start = [parameter.detach() for parameter in policy(settings(1, 1)).trainable()]
    moved = max(float((a - b).abs().max()) for a, b in zip(start, parameters, strict=True))
    assert moved > 1e-2


@pytest.mark.parametrize(("stage", "again"), [(1, "selective"), (2, "selective"), (2, True), (3, True)])
def test_layers_that_are_computed_again_change_nothing(stage: Literal[1, 2, 3], again: Again, ranks: Ranks) -> None:
    kept = ranks.run(zero_train, stage, ALGORITHMS[0])
    losses, parameters = ranks.run(zero_train, stage, ALGORITHMS[0], (), 4, "float32", again)
    assert losses == pytest.approx(kept[0], abs=1e-6)
    for ours, reference in zip(parameters, kept[1], strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), torch.from_numpy(reference), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_default_precision_takes_the_steps_of_a_plain_loop_up_to_rounding(
    stage: Literal[1, 2, 3], ranks: Ranks
) -> None:
    """Sums in another order round otherwise, and Adam makes that larger: the direction is what has to agree."""
    assert LearnerSpec().dtype == "bfloat16"
    losses, parameters = ranks.run(zero_train, stage, ALGORITHMS[0], (), 4, "bfloat16")
    shares = map(random_shares, range(STEPS))
    plain = plain_train(policy(settings(1, 1, "bfloat16")), ALGORITHMS[0], OPTIMIZER, shares, STEPS)
    start = _flat(parameter.detach().numpy() for parameter in policy(settings(1, 1)).trainable())
    ours, reference = (_flat(each) - start for each in (parameters, [each.float().numpy() for each in plain[1]]))
    assert losses == pytest.approx(plain[0], rel=0.02)
    assert float(torch.cosine_similarity(ours, reference, dim=0)) > 0.95


def _flat(parameters: Iterable[npt.NDArray[Any]]) -> torch.Tensor:
    return torch.cat([torch.from_numpy(each).flatten() for each in parameters])

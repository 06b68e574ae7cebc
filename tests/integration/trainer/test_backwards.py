"""Why a step has one fused backward: with several, two of ZeRO's stages silently forget all but the last.

At gradient_accumulation_steps 1 DeepSpeed takes every backward for a whole step. Stages 1 and 2 then replace the
reduced gradient, stage 3 adds to it; none of them warns. These tests hold what DeepSpeed 0.19.8 does, so that another
version that does otherwise is noticed, and that the fused backward is right at every stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.integration.trainer.conftest import RANKS, Ranks
from trialign_ray.config.train import LearnerSpec, OptimizerSpec
from trialign_ray.trainer.engine import adamw, cosine

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("one_thread")]

STEPS, PARTS = 4, 3
STAGES = (1, 2, 3)
OPTIMIZER = OptimizerSpec(learning_rate=1e-2, clip_norm=0.5)
TOLERANCE = 1e-6


class Model(nn.Module):
    """One weight, above the size from which ZeRO-3 partitions it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(128, 96, generator=torch.Generator().manual_seed(0)))

    def trainable(self) -> list[nn.Parameter]:
        return [self.weight]

    def forward(self, part: int, inputs: Tensor) -> Tensor:
        """The loss of one part of a step; the parts differ in weight."""
        return (part + 1) * (inputs @ self.weight).tanh().square().mean()


def inputs(step: int, rank: int, part: int) -> Tensor:
    generator = torch.Generator().manual_seed((step * RANKS + rank) * PARTS + part)
    return torch.randn(5, 128, generator=generator)


def plain(parts: Sequence[int]) -> Tensor:
    """The weight after all steps of a plain loop that takes these parts of each step, mean over the ranks."""
    model = Model()
    adam = adamw(model.trainable(), OPTIMIZER)
    schedule = cosine(adam, STEPS, 1)
    for step in range(STEPS):
        losses = [model(part, inputs(step, rank, part)) for rank in range(RANKS) for part in parts]
        (torch.stack(losses).sum() / RANKS).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip_norm)
        adam.step()
        schedule.step()
        adam.zero_grad()
    return model.weight.detach()


def several(engine: Any, step: int) -> None:
    for part in range(PARTS):
        engine.backward(engine(part, inputs(step, dist.get_rank(), part)))


def fused(engine: Any, step: int) -> None:
    engine.backward(torch.stack([engine(part, inputs(step, dist.get_rank(), part)) for part in range(PARTS)]).sum())


def every_way() -> dict[str, npt.NDArray[Any]]:
    """The weight after training at every stage in both ways."""
    ways = {"several": several, "fused": fused}
    return {f"{stage} {name}": zero_train(stage, way).numpy() for stage in STAGES for name, way in ways.items()}


def zero_train(stage: Any, backward: Any) -> Tensor:
    from trialign_ray.trainer.engine import initialize

    model: Any = Model()
    learner = LearnerSpec(workers=RANKS, zero_stage=stage, dtype="float32")
    engine = initialize(model, OPTIMIZER, learner, STEPS, 1)
    for step in range(STEPS):
        backward(engine, step)
        engine.step()
    import deepspeed

    with deepspeed.zero.GatheredParameters(model.trainable()):
        weight: Tensor = model.weight.detach().clone()
    return weight


@pytest.fixture(scope="module")
def weights(ranks: Ranks) -> dict[str, Tensor]:
    return {name: torch.from_numpy(weight) for name, weight in ranks.run(every_way).items()}


def difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


@pytest.mark.parametrize("stage", STAGES)
def test_one_fused_backward_is_the_plain_loop(weights: dict[str, Tensor], stage: int) -> None:
    assert difference(weights[f"{stage} fused"], plain(range(PARTS))) < TOLERANCE


@pytest.mark.parametrize("stage", [1, 2])
def test_of_several_backwards_stages_1_and_2_keep_the_last(weights: dict[str, Tensor], stage: int) -> None:
    assert difference(weights[f"{stage} several"], plain([PARTS - 1])) < TOLERANCE
    assert difference(weights[f"{stage} several"], plain(range(PARTS))) > 1e-3


def test_of_several_backwards_stage_3_keeps_all(weights: dict[str, Tensor]) -> None:
    assert difference(weights["3 several"], plain(range(PARTS))) < TOLERANCE


def test_the_parts_of_a_step_matter() -> None:
    """Without which the tests above would say nothing."""
    assert difference(plain(range(PARTS)), plain([PARTS - 1])) > 1e-3
    assert difference(plain(range(PARTS)), Model().weight.detach()) > 1e-2

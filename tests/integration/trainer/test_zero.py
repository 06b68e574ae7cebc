"""The ZeRO learner takes the same steps as a plain torch loop, at every stage and over two ranks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

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


def settings(stage: Literal[1, 2, 3], workers: int) -> LearnerSpec:
    return LearnerSpec(workers=workers, zero_stage=stage, dtype="float32")


def policy(learner: LearnerSpec) -> Policy:
    made = adapt(tiny_model(), LoraSpec(rank=4), learner, seed=1)
    # A fresh LoRA has B = 0, which would hide half of the gradients.
    generator = torch.Generator().manual_seed(2)
    for parameter in made.trainable():
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def zero_train(rank: int, world: int, stage: Literal[1, 2, 3], algorithm: AlgorithmSpec, folder: str) -> None:
    os.environ.update(DS_ACCELERATOR="cpu", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    import deepspeed

    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    learner = settings(stage, world)
    made = policy(learner)
    engine = initialize(made, OPTIMIZER, learner, STEPS, 1)
    stepper = Learner(engine, compose(algorithm), first_utilities(3))
    losses = [float(stepper.step(random_shares(step)).outputs.loss.detach()) for step in range(STEPS)]
    with deepspeed.zero.GatheredParameters(made.trainable()):
        parameters = [parameter.detach().clone() for parameter in made.trainable()]
    if rank == 0:
        torch.save({"losses": losses, "parameters": parameters}, f"{folder}/out.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["awr", "candidate", "dpo"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_equals_plain_loop(stage: Literal[1, 2, 3], algorithm: AlgorithmSpec, tmp_path: Path) -> None:
    spawn(zero_train, args=(2, stage, algorithm, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    found = torch.load(tmp_path / "out.pt")
    losses, parameters = plain_train(
        policy(settings(1, 1)), algorithm, OPTIMIZER, map(random_shares, range(STEPS)), STEPS
    )
    assert found["losses"] == pytest.approx(losses, abs=1e-5)
    for ours, reference in zip(found["parameters"], parameters, strict=True):
        torch.testing.assert_close(ours, reference, atol=2e-5, rtol=1e-4)
    start = [parameter.detach() for parameter in policy(settings(1, 1)).trainable()]
    moved = max(float((a - b).abs().max()) for a, b in zip(start, parameters, strict=True))
    assert moved > 1e-2

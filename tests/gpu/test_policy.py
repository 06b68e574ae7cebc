"""The policy and one ZeRO step on an accelerator give what they give on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.plain import plain_train
from tests.shares import random_shares
from tests.tiny import tiny_model
from trialign_ray.algorithms.compose import compose
from trialign_ray.config.algorithm import TrialignSpec
from trialign_ray.config.train import LearnerSpec, LoraSpec, OptimizerSpec
from trialign_ray.trainer.collate import assemble
from trialign_ray.trainer.policy import Policy, adapt

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
LEARNER = LearnerSpec(workers=1, zero_stage=2, gpu=True, dtype="float32")
OPTIMIZER = OptimizerSpec(learning_rate=1e-2)


def policy() -> Policy:
    return adapt(tiny_model(), LoraSpec(rank=4), LEARNER, seed=1)


def test_log_probs_equal_those_of_the_cpu() -> None:
    trees = assemble(random_shares(0)).trees
    expected = policy()(trees)
    found = policy().cuda()(trees)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)


def test_zero_on_a_gpu_takes_the_steps_of_the_plain_loop(tmp_path: Path) -> None:
    from trialign_ray.objective.step import first_utilities
    from trialign_ray.trainer.engine import initialize
    from trialign_ray.trainer.learner import Learner

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        engine = initialize(policy().cuda(), OPTIMIZER, LEARNER, 4, 1)
        stepper = Learner(engine, compose(TrialignSpec(kl=0.1)), first_utilities(3))
        losses = [float(stepper.step(random_shares(step)).outputs.loss.detach()) for step in range(4)]
    finally:
        dist.destroy_process_group()
    expected, _ = plain_train(policy(), TrialignSpec(kl=0.1), OPTIMIZER, map(random_shares, range(4)), 4)
    assert losses == pytest.approx(expected, abs=1e-3)

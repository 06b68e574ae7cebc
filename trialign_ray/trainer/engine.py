"""The DeepSpeed ZeRO engine around the policy: one fused backward and one step per optimizer step.

Import this module before anything else imports deepspeed: on CPU it must be told so first.
"""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch import nn

from trialign_ray.config.train import LearnerSpec, OptimizerSpec
from trialign_ray.trainer.policy import Policy


def initialize(policy: Policy, optimizer: OptimizerSpec, learner: LearnerSpec, steps: int, warmup_steps: int) -> Any:
    """The DeepSpeed engine. The process group must exist; every rank calls this with equal weights."""
    if not learner.gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    # Its shared-memory collectives need a C++ compiler and a minute of compiling; gloo moves an adapter's gradients.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    adam = adamw(policy.trainable(), optimizer)
    engine, _, _, _ = deepspeed.initialize(
        model=policy,
        optimizer=adam,
        lr_scheduler=cosine(adam, steps, warmup_steps),
        config=zero_config(optimizer, learner, torch.distributed.get_world_size()),
        dist_init_required=False,
    )
    return engine


def zero_config(optimizer: OptimizerSpec, learner: LearnerSpec, world_size: int) -> dict[str, Any]:
    """DeepSpeed's JSON. Its batch size counts engine steps, not questions: one micro batch a rank."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "train_batch_size": world_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optimizer.clip_norm,
        "bf16": {"enabled": learner.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": learner.zero_stage,
            # Adapters are small: one bucket holds every gradient.
            "reduce_bucket_size": 50_000_000,
            "allgather_bucket_size": 50_000_000,
            "stage3_param_persistence_threshold": 10_000,
        },
        "steps_per_print": 1_000_000_000,
    }


def adamw(parameters: list[nn.Parameter], spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW as the specification says."""
    return torch.optim.AdamW(parameters, lr=spec.learning_rate, betas=spec.betas, weight_decay=spec.weight_decay)


def cosine(optimizer: torch.optim.Optimizer, steps: int, warmup_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up that reaches the full rate in its last step, then half a cosine towards zero.

    The first step already moves: a schedule that begins at rate 0 would waste its questions.
    """

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)

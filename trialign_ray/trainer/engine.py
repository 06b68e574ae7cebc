"""The DeepSpeed ZeRO engine around the policy: backwards that add up, one reduction and one step.

Import this module before anything else imports deepspeed: on CPU it must be told so first.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from trialign_ray.config.train import LearnerSpec, OptimizerSpec
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import Policy


class TrainingEngine(Protocol):
    """What a learner uses of an engine: forward, backward and step over all ranks."""

    @property
    def module(self) -> Policy:
        """The policy that it trains."""

    @property
    def device(self) -> torch.device:
        """Where tensors of collectives lie."""

    def __call__(self, trees: Sequence[Tree], /) -> Tensor:
        """The policy's log-probs of all responses of this rank's trees, [responses]."""

    def backward(self, loss: Tensor, /) -> object:
        """Add the gradient of `loss`."""

    def coalesce_grad_reduction(self) -> AbstractContextManager[None]:
        """Around all backwards of a step: gradients add up on each rank, and are averaged over the ranks at its end.

        Outside of it ZeRO 1 and 2 keep the gradient of the last backward alone.
        """

    def step(self) -> object:
        """Clip, and take one optimizer and one schedule step."""

    def get_lr(self) -> list[float]:
        """Learning rate of each group of parameters in the next step."""

    def get_global_grad_norm(self) -> float | None:
        """L2 norm of the last step's gradient over all ranks, before it was clipped."""


class ZeroEngine(TrainingEngine, Protocol):
    """A `deepspeed.DeepSpeedEngine`, whose optimizer and schedule checkpoints read and set."""

    @property
    def optimizer(self) -> Any:
        """ZeRO's, around AdamW."""

    @property
    def lr_scheduler(self) -> Any:
        """The schedule."""


def initialize(
    policy: Policy, optimizer: OptimizerSpec, learner: LearnerSpec, steps: int, warmup_steps: int
) -> ZeroEngine:
    """The DeepSpeed engine. The process group must exist; every rank calls this with equal weights, whole or as
    `split_loading` has spread them.
    """
    deepspeed = _deepspeed(learner)
    adam = adamw(policy.trainable(), optimizer)
    engine: ZeroEngine
    engine, _, _, _ = deepspeed.initialize(
        model=policy,
        optimizer=adam,
        lr_scheduler=cosine(adam, steps, warmup_steps),
        config=zero_config(optimizer, learner, torch.distributed.get_world_size()),
        dist_init_required=False,
    )
    return engine


@contextmanager
def split_loading(optimizer: OptimizerSpec, learner: LearnerSpec) -> Iterator[None]:
    """Within it, at stage 3, transformers spreads the weights of a model over the ranks while it loads them.

    A rank's device then holds its share and one layer, never the whole model; rank 0 alone reads the files, which it
    maps. Every rank loads the same model. At stages 1 and 2 each rank loads all weights.
    """
    if learner.zero_stage < 3:
        yield
        return
    _deepspeed(learner).init_distributed(dist_init_required=False, verbose=False)
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    settings = zero_config(optimizer, learner, torch.distributed.get_world_size())
    kept = HfDeepSpeedConfig(settings)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        # Or any other model of this process would be split too. Until here transformers knew it weakly.
        unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
        del kept


def _deepspeed(learner: LearnerSpec) -> Any:
    if not learner.gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    # Its shared-memory collectives need a C++ compiler and a minute of compiling; gloo moves an adapter's gradients.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def zero_config(optimizer: OptimizerSpec, learner: LearnerSpec, world_size: int) -> dict[str, JsonValue]:
    """DeepSpeed's JSON. Its batch size counts engine steps, not questions: one micro-batch per rank."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "train_batch_size": world_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optimizer.clip_norm,
        "bf16": {"enabled": learner.dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": learner.zero_stage,
            # One bucket holds every gradient of an adapter.
            "reduce_bucket_size": 50_000_000,
            "allgather_bucket_size": 50_000_000,
            "stage3_param_persistence_threshold": 10_000,
            **({"offload_optimizer": {"device": "cpu", "pin_memory": True}} if learner.offload_optimizer else {}),
        },
        # DeepSpeed's own AdamW for the CPU is compiled on the machine that trains; torch's is not.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
    }


def adamw(parameters: list[nn.Parameter], spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW with the specification's numbers."""
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

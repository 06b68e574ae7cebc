"""The engine of a run in one process: torch's AdamW on float32 copies of what is trained, without DeepSpeed and Ray.

What ZeRO does at one rank, in the open: for a notebook, or a machine that has only torch. The learner is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trialign_ray.config.train import OptimizerSpec
from trialign_ray.trainer.engine import adamw, cosine
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import Policy


class PlainEngine:
    """A `TrainingEngine` over one policy in one process."""

    def __init__(self, policy: Policy, optimizer: OptimizerSpec, steps: int, warmup_steps: int) -> None:
        self.module = policy
        self._clip_norm = optimizer.clip_norm
        self._parameters = policy.trainable()
        # A bfloat16 weight would round a small step away; the optimizer's copies keep it.
        self._masters = [nn.Parameter(each.detach().float().clone()) for each in self._parameters]
        self._adam = adamw(self._masters, optimizer)
        self._schedule = cosine(self._adam, steps, warmup_steps)
        self._norm: float | None = None

    @property
    def device(self) -> torch.device:
        """Where tensors of collectives lie."""
        return self._masters[0].device

    def __call__(self, trees: Sequence[Tree], /) -> Tensor:
        """The policy's log-probs of all responses, [responses]."""
        found: Tensor = self.module(trees)
        return found

    def backward(self, loss: Tensor, /) -> None:
        """Add the gradients of what is trained to the float32 gradients of the optimizer's copies."""
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter, master in zip(self._parameters, self._masters, strict=True):
            if parameter.grad is not None:
                master.grad = parameter.grad.float() if master.grad is None else master.grad + parameter.grad
            parameter.grad = None

    def coalesce_grad_reduction(self) -> AbstractContextManager[None]:
        """Nothing to reduce."""
        return nullcontext()

    @torch.no_grad()
    def step(self) -> None:
        """Clip, take one optimizer and one schedule step, and round the copies into the weights."""
        self._norm = float(nn.utils.clip_grad_norm_(self._masters, self._clip_norm))
        self._adam.step()
        self._adam.zero_grad()
        self._schedule.step()
        for parameter, master in zip(self._parameters, self._masters, strict=True):
            parameter.copy_(master)

    def get_lr(self) -> list[float]:
        """Learning rate of the next step."""
        return [float(rate) for rate in self._schedule.get_last_lr()]

    def get_global_grad_norm(self) -> float | None:
        """L2 norm of the last step's gradient, before it was clipped."""
        return self._norm


@contextmanager
def one_process(device: torch.device) -> Iterator[None]:
    """A process group of this process alone, for the learner's collectives on `device`; one that is there is used."""
    if dist.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        dist.destroy_process_group()

"""The loop without Ray and ZeRO: fp32 masters, AdamW, and gloo where there are two processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trialign_ray.config.train import OptimizerSpec, TrainSpec
from trialign_ray.models.loading import load_model
from trialign_ray.trainer.engine import adamw, cosine
from trialign_ray.trainer.packing import Tree
from trialign_ray.trainer.policy import LoraPolicy, Policy, adapt


class BareEngine:
    """What `learner.Learner` needs of an engine, in plain torch: gradients are averaged over the ranks."""

    def __init__(self, policy: Policy, optimizer: OptimizerSpec, steps: int) -> None:
        self.module = policy
        self.device = torch.device("cpu")
        self._clip = optimizer.clip_norm
        self._parameters = policy.trainable()
        self._masters = [nn.Parameter(parameter.detach().float().clone()) for parameter in self._parameters]
        self._adam = adamw(self._masters, optimizer)
        self._schedule = cosine(self._adam, steps, 1)
        self._norm = 0.0

    def __call__(self, trees: Sequence[Tree]) -> Tensor:
        """Log-probs of all responses, as `Policy.forward`."""
        scored: Tensor = self.module(trees)
        return scored

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those that are there."""
        torch.autograd.backward(loss)

    def coalesce_grad_reduction(self) -> AbstractContextManager[None]:
        """Gradients are averaged in `step`."""
        return nullcontext()

    def step(self) -> None:
        """Average over the ranks, clip, update the masters and copy them back."""
        flat = torch.cat(
            [parameter.grad.float().flatten() for parameter in self._parameters if parameter.grad is not None]
        )
        if dist.is_initialized():
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        for master, grad in zip(self._masters, torch.split(flat, [m.numel() for m in self._masters]), strict=True):
            master.grad = grad.view_as(master)
        self._norm = float(nn.utils.clip_grad_norm_(self._masters, self._clip))
        self._adam.step()
        self._schedule.step()
        with torch.no_grad():
            for parameter, master in zip(self._parameters, self._masters, strict=True):
                parameter.copy_(master)
                parameter.grad = None

    def get_lr(self) -> list[float]:
        """Learning rate of the next step."""
        return [float(rate) for rate in self._schedule.get_last_lr()]

    def get_global_grad_norm(self) -> float:
        """Of the last step, before it was clipped."""
        return self._norm


def policy_of(spec: TrainSpec) -> LoraPolicy:
    """The policy with the adapter that the run of `spec` starts from."""
    return adapt(load_model(spec.model, spec.learner.dtype, "eager"), spec.lora, spec.learner, spec.seed)

"""Exponentiated gradient over the groups (group DRO, arXiv 1911.08731; GR-DPO, arXiv 2405.20304, algorithm 1).

The weights ascend on the simplex while the policy descends: both together seek the policy whose worst group loses
least. They depend on the whole training so far and not on the utilities of one step.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trialign_ray.objective.welfare.base import normalised


@dataclass(frozen=True, slots=True)
class ExponentiatedGradient:
    """omega_i <- omega_i * exp(step * loss_i), normalised."""

    step: float

    def moved(self, weight_g: Tensor, loss_g: Tensor) -> Tensor:
        """The next weights, normalised and clipped; [groups]. Only differences of losses matter."""
        return normalised(weight_g * (self.step * (loss_g - loss_g.max())).exp())

"""Welfare of the groups: how much each group's utility counts.

A weight is the slope of the welfare in one group's utility; it is normalised to mean 1, kept within CLIP, and constant
in the gradient.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

CLIP = (0.25, 4.0)
"""A group may count at most four times, and at least a quarter, of the mean."""


class Welfare(Protocol):
    """Anything that weighs groups by their utilities."""

    def weights(self, utility_g: Tensor) -> Tensor:
        """Weight of each group, [groups]. utility_g: [groups], in [0, 1]."""
        ...


@runtime_checkable
class MovingWelfare(Protocol):
    """Anything that moves the weights from step to step instead."""

    def moved(self, weight_g: Tensor, loss_g: Tensor) -> Tensor:
        """Next weight of each group, [groups]. weight_g: the last ones, equal at first; loss_g: of this step."""
        ...


def normalised(raw_g: Tensor) -> Tensor:
    """Weights of mean 1, then held within CLIP, which can leave them another mean; [groups]."""
    return (raw_g / raw_g.mean()).clamp(*CLIP)

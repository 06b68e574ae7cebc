"""Welfare of the groups: how much each group's utility counts.

Alpha-fairness (Mo & Walrand 2000): alpha 0 is the mean, 1 Nash social welfare, a large alpha max-min. Generalised
Gini (Weymark 1981): weights fall with rank. A weight is the slope of the welfare in one group's utility; it is
normalised to mean 1, kept within CLIP, and constant in the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

CLIP = (0.25, 4.0)
"""A group may count at most four times, and at least a quarter, of the mean."""


class Welfare(Protocol):
    """Anything that weighs groups by their utilities."""

    def weights(self, utility_g: Tensor) -> Tensor:
        """Weight of each group, [groups]. utility_g: [groups], in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class AlphaFair:
    """Sum over groups of (eps + U)^(1 - alpha) / (1 - alpha), or of log(eps + U) at alpha 1."""

    alpha: float = 1.0
    eps: float = 0.05
    """Keeps a group at zero utility from taking all the weight."""

    def weights(self, utility_g: Tensor) -> Tensor:
        """(eps + U)^-alpha, normalised and clipped; [groups]."""
        level_g = self.eps + utility_g
        # Only ratios matter; relative to the worst group no power overflows.
        return _normalise((level_g / level_g.min()) ** -self.alpha)


@dataclass(frozen=True, slots=True)
class GeneralisedGini:
    """Sum over groups of w_rank * U, the worst group at rank 0, with w_rank = decay ** rank."""

    decay: float = 0.5

    def weights(self, utility_g: Tensor) -> Tensor:
        """Decay ** rank, groups of equal utility sharing the mean of their ranks' weights; [groups]."""
        by_rank = self.decay ** torch.arange(len(utility_g), dtype=utility_g.dtype, device=utility_g.device)
        _, tie_g, size_t = torch.unique(utility_g, return_inverse=True, return_counts=True)
        rank_tie = torch.repeat_interleave(torch.arange(len(size_t), device=utility_g.device), size_t)
        shared_t = torch.zeros_like(size_t, dtype=utility_g.dtype).index_add_(0, rank_tie, by_rank) / size_t
        return _normalise(shared_t[tie_g])


def _normalise(raw_g: Tensor) -> Tensor:
    return (raw_g / raw_g.mean()).clamp(*CLIP)

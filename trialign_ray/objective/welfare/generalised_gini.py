"""Generalised Gini welfare: a group's weight falls with its rank (Weymark 1981)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trialign_ray.objective.welfare.base import normalised


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
        return normalised(shared_t[tie_g])

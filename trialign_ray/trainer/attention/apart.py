"""A model's own attention over one response a row: for layers that carry a state from token to token.

A recurrence or a convolution runs along the slots of a row, across the branches of a tree. Without trees each response
is computed behind its own copy of the prompt: exact for every causal model, and slower by what the trees would share.
"""

from __future__ import annotations

import torch

from trialign_ray.trainer.attention.base import Kind, Slots


class ApartAttention:
    """A `trialign_ray.trainer.attention.base.AttentionBackend` that shares nothing."""

    implementation = None

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> None:
        """None: the model makes its own mask. Rows end in padding, which no token before it sees."""

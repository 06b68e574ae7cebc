"""The interface of attention over packed trees.

A backend of one's own is an entry of `trialign_ray.config.attention`, or an import path in the specification.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class AttentionBackend(Protocol):
    """Softmax attention in which each token sees the tokens that a mask names, and no others.

    Output and gradients are those of the model's own attention under that mask, up to rounding. Where a model's
    attention has more to it (soft caps, sinks, sliding windows) and the backend does not reproduce that, its forward
    raises ModelError. It is made from its specification, whose fields are its keyword arguments.
    """

    @property
    def implementation(self) -> str:
        """The name under which it is registered as a `transformers.AttentionInterface`."""

    def mask(self, visible_rtt: Tensor, dtype: torch.dtype) -> object:
        """What the implementation is given as `attention_mask`.

        visible_rtt: bool [rows, tokens, tokens], whether token t (second axis) sees token t' (third); every token sees
        itself. dtype: of the model.
        """

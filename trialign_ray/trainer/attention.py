"""Attention under a tree mask, as two matrix products.

Under an arbitrary mask PyTorch's fused CPU kernel falls back to a slow path; at the widths of packed short
responses (hundreds of places) two batched products and a softmax are faster. Registered with transformers under
the name TREE, so that any model that takes an attention implementation by name can be packed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from trialign_ray.errors import ModelError

TREE = "trialign_tree"

_REFUSED = ("softcap", "s_aux")

HIDDEN = -1e4
"""Added to the score of an invisible place: exp of it is 0 in every dtype, and no row becomes NaN."""


def additive_mask(visible_rtt: Tensor, dtype: torch.dtype) -> Tensor:
    """[rows, 1, places, places]: 0 where visible, HIDDEN where not."""
    return torch.zeros_like(visible_rtt, dtype=dtype).masked_fill_(~visible_rtt, HIDDEN)[:, None]


def tree_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    **features: Any,
) -> tuple[Tensor, None]:
    """query: [rows, heads, places, head_dim]; key, value: [rows, kv_heads, places, head_dim].

    The query heads of one key-value head are folded into the places, so that keys are not repeated. Raises ModelError
    for attention with soft caps, sinks or sliding windows, which a tree of this kind does not reproduce.
    """
    rows, heads, places, width = query.shape
    unknown = [name for name in _REFUSED if features.get(name) is not None]
    if unknown or (features.get("sliding_window") or places) < places:
        raise ModelError(
            f"{type(module).__name__} uses '{[*unknown, 'sliding_window'][0]}', which packed trees do not reproduce."
        )
    kv_heads = key.shape[1]
    folded = (query * scaling).reshape(rows, kv_heads, heads // kv_heads * places, width)
    scores = (folded @ key.transpose(-1, -2)).view(rows, kv_heads, heads // kv_heads, places, places)
    weights = scores.add_(attention_mask[:, :, None]).softmax(-1)
    mixed = weights.view(rows, kv_heads, heads // kv_heads * places, places) @ value
    return mixed.view(rows, heads, places, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(TREE, tree_attention)

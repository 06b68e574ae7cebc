"""Attention under a tree mask, as two matrix products.

Under an arbitrary mask PyTorch's fused CPU kernel falls back to a slow path; at the widths of packed short responses
(hundreds of tokens) two batched products and a softmax are faster. Registered with transformers, so that any model
that takes an attention implementation by name can be packed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AttentionInterface

from trialign_ray.errors import ModelError

TREE = "trialign_tree"

HIDDEN = -1e4
"""Added to the score of an invisible token: exp of it is 0 in every dtype, and no row becomes NaN."""


class MatmulAttention:
    """A `trialign_ray.trainer.attention.base.AttentionBackend`."""

    implementation = TREE

    def mask(self, visible_rtt: Tensor, dtype: torch.dtype) -> Tensor:
        """[rows, 1, tokens, tokens]: 0 where visible, HIDDEN where not."""
        return torch.zeros_like(visible_rtt, dtype=dtype).masked_fill_(~visible_rtt, HIDDEN)[:, None]


def tree_attention(
    module: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """query: [rows, heads, tokens, head_dim]; key, value: [rows, kv_heads, tokens, head_dim].

    The query heads of one key-value head are folded into the tokens, so that keys are not repeated. Raises ModelError
    for attention with soft caps, sinks or sliding windows, which this implementation does not reproduce.
    """
    rows, heads, tokens, width = query.shape
    unsupported = {
        "softcap": softcap is not None,
        "s_aux": s_aux is not None,
        "sliding_window": (sliding_window or tokens) < tokens,
    }
    if any(unsupported.values()):
        name = next(name for name, found in unsupported.items() if found)
        raise ModelError(
            f"{type(module).__name__} uses '{name}', which packed trees do not reproduce. Use a model without it, or "
            "another 'learner.attention'."
        )
    kv_heads = key.shape[1]
    folded = (query * scaling).reshape(rows, kv_heads, heads // kv_heads * tokens, width)
    scores = (folded @ key.transpose(-1, -2)).view(rows, kv_heads, heads // kv_heads, tokens, tokens)
    weights = scores.add_(attention_mask[:, :, None]).softmax(-1)
    mixed = weights.view(rows, kv_heads, heads // kv_heads * tokens, tokens) @ value
    return mixed.view(rows, heads, tokens, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(TREE, tree_attention)

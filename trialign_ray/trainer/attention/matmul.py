"""Attention under a tree mask, as two matrix products.

Under an arbitrary mask PyTorch's fused CPU kernel falls back to a slow path; at the widths of packed short responses
(hundreds of tokens) two batched products and a softmax are faster. Registered with transformers, so that any model
that takes an attention implementation by name can be packed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AttentionInterface

from trialign_ray.trainer.attention.base import Kind, Slots
from trialign_ray.trainer.recompute import kept_if_selective

TREE = "trialign_tree"

HIDDEN = -1e4
"""Added to the score of an invisible token: exp of it is 0 in every dtype, and no row becomes NaN."""


class MatmulAttention:
    """A `trialign_ray.trainer.attention.base.AttentionBackend`."""

    implementation = TREE

    def mask(self, slots: Slots, kind: Kind, dtype: torch.dtype) -> Tensor:
        """[rows, 1, tokens, tokens]: 0 where visible, HIDDEN where not."""
        visible = slots.visible(kind)
        return torch.zeros_like(visible, dtype=dtype).masked_fill_(~visible, HIDDEN)


def tree_attention(
    module: object,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """query: [rows, heads, tokens, width]; key: [rows, kv_heads, tokens, width]; value: the same in a width of its own.

    softcap: bound of a score, softly (Gemma 2, arXiv 2408.00118). s_aux: [heads], a logit of each head that takes
    weight and gives nothing (a sink, arXiv 2309.17453). Windows are in the mask.

    The query heads of one key-value head are folded into the tokens, so that keys are not repeated.
    """
    rows, heads, tokens, width = query.shape
    kv_heads, each = key.shape[1], heads // key.shape[1]
    folded = (query * scaling).reshape(rows, kv_heads, each * tokens, width)
    scores = folded @ key.transpose(-1, -2)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.view(rows, kv_heads, each, tokens, tokens).add_(attention_mask[:, :, None])
    if s_aux is None:
        weights = scores.softmax(-1)
    else:
        sink = s_aux.view(1, kv_heads, each, 1, 1).expand(rows, -1, -1, tokens, 1).to(scores)
        weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
    with kept_if_selective():
        mixed = weights.reshape(rows, kv_heads, each * tokens, tokens) @ value
    return mixed.view(rows, heads, tokens, value.shape[-1]).transpose(1, 2).contiguous(), None


AttentionInterface.register(TREE, tree_attention)
